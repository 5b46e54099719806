"""A Jupyter Server with the extension, in a folder of its own."""

import json
import struct

import numpy as np
import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403
from tornado.httpclient import HTTPClientError


@pytest.fixture
def jp_server_config():
    return {"ServerApp": {"jpserver_extensions": {"pm_lab.server": True}}}


@pytest.fixture
def call(jp_fetch):
    """Ask a route; returns (status, JSON), for refusals too."""

    async def call(route, method="GET", body=None, **params):
        try:
            response = await jp_fetch(
                *("pm-lab", *route.split("/")),
                method=method,
                params=params,
                body=None if body is None else json.dumps(body),
            )
        except HTTPClientError as error:
            response = error.response
        return response.code, json.loads(response.body)

    return call


@pytest.fixture
def ask_arrays(jp_fetch):
    """Ask a route for a binary answer; returns its header and its arrays by name."""

    async def ask_arrays(route, **params):
        response = await jp_fetch("pm-lab", *route.split("/"), params=params)
        assert response.headers["Content-Type"] == "application/octet-stream"
        (length,) = struct.unpack_from("<I", response.body)
        header, start = json.loads(response.body[4 : 4 + length]), 4 + length
        arrays = {}
        for one in header.pop("arrays"):
            assert (start + one["offset"]) % 8 == 0
            count = int(np.prod(one["shape"]))
            values = np.frombuffer(response.body, one["dtype"], count, start + one["offset"])
            arrays[one["name"]] = values.reshape(one["shape"])
        return header, arrays

    return ask_arrays
