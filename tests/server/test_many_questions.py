"""Any question gets a proper answer, many at once do too, and none of them stops the server."""

import asyncio
import json
import threading

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jupyter_server.utils import url_path_join
from tornado.httpclient import AsyncHTTPClient

from pm_lab.server import answers
from pm_lab.server.routes import ROUTES

DATA_ROUTES = sorted(route for route, _ in ROUTES if route.startswith("anndata/"))
N = 40


@pytest.fixture
def file(jp_root_dir):
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"x": rng.normal(size=N), "n": np.arange(N)}, index=[f"c{i}" for i in range(N)])
    obs["cell_type"] = pd.Categorical(rng.choice(["B", "T"], N))
    obs["flag"] = rng.random(N) < 0.5
    adata = anndata.AnnData(rng.poisson(1, (N, 3)).astype("float32"), obs=obs)
    adata.obsm["X_umap"] = rng.normal(size=(N, 2)).astype("float32")
    adata.layers["log"] = np.log1p(adata.X)
    adata.write_h5ad(jp_root_dir / "x.h5ad")


numbers = st.one_of(
    st.integers(-3, 60), st.integers(), st.floats(), st.sampled_from(["", "nan", "1e400", "0x1", "1_0", "٣"])
)
names = st.one_of(
    st.sampled_from(
        ["x", "n", "cell_type", "flag", "X_umap", "log", "raw/X", "X", "0", "1", ":index", "", "../obs"]
    ),
    st.text(max_size=12),
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["range", "values", "contains", "gene", "lasso", "other"]),
        "axis": st.sampled_from(["obs", "var", "uns"]),
        "column": names,
        "min": st.one_of(st.none(), numbers),
        "max": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
        "values": st.lists(st.one_of(names, st.integers(-5, 50), st.booleans(), st.none()), max_size=4),
        "missing": st.one_of(st.booleans(), st.integers()),
        "text": names,
        "gene": names,
        "layer": st.one_of(st.none(), names),
        "key": names,
        "x": st.integers(-1, 3),
        "y": st.integers(-1, 3),
        "polygon": st.lists(st.lists(st.floats(-3, 3), min_size=2, max_size=2), max_size=6),
    },
)
filters = st.one_of(
    st.lists(conditions, max_size=3).map(lambda found: json.dumps(found, default=str)),
    st.text(max_size=20),
    st.sampled_from(["[", "{}", "null", "[[]]", "[1]", "[" * 2_000, '[{"kind": []}]', '{"a": NaN}']),
)
queries = st.fixed_dictionaries(
    {"path": st.sampled_from(["x.h5ad"] * 9 + ["y.h5ad", "", "../x.h5ad"])},
    optional={
        "axis": st.sampled_from(["obs", "var", "raw/var", "uns", ""]),
        "start": numbers,
        "stop": numbers,
        "limit": numbers,
        "sort": names,
        "descending": st.sampled_from(["0", "1", "true", "no", ""]),
        "columns": st.one_of(st.lists(names, max_size=3).map(json.dumps), st.text(max_size=8)),
        "name": names,
        "prefix": names,
        "key": names,
        "x": numbers,
        "y": numbers,
        "obs": names,
        "gene": names,
        "layer": names,
        "by": names,
        "filters": filters,
        "etag": st.sampled_from(["", "old"]),
        "task": st.text(max_size=5),
    },
)


@pytest.fixture
def answer_of(jp_serverapp, jp_fetch, jp_asyncio_loop):
    """Ask without pytest's event loop running, as hypothesis calls ordinary functions."""
    return lambda *parts, **options: jp_asyncio_loop.run_until_complete(
        jp_fetch(*parts, raise_error=False, **options)
    )


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(route=st.sampled_from(DATA_ROUTES), query=queries)
def test_no_question_breaks_the_server(file, answer_of, route, query):
    response = answer_of("pm-lab", *route.split("/"), params=query)
    assert response.code in (200, 400, 403, 404, 409, 422), (route, query, response.body)
    if response.code != 200:
        body = json.loads(response.body)
        assert set(body) == {"what", "where", "mend"} and body["what"]


async def test_fifty_clients_at_once(file, jp_fetch):
    questions = [
        ("anndata/structure", {}),
        ("anndata/table", {"sort": "x"}),
        (
            "anndata/table",
            {"sort": "cell_type", "filters": '[{"kind":"range","column":"n","min":5,"max":null}]'},
        ),
        ("anndata/colour", {"gene": "1"}),
        ("anndata/embedding", {"key": "X_umap"}),
        ("anndata/summary", {}),
        ("anndata/warnings", {}),
        ("anndata/export", {}),
        ("anndata/distribution", {"gene": "1", "by": "cell_type"}),
        ("anndata/names", {"prefix": "1"}),
    ]
    AsyncHTTPClient.configure(None, max_clients=100)
    asked = [questions[i % len(questions)] for i in range(50)]
    found = await asyncio.gather(
        *(jp_fetch("pm-lab", *route.split("/"), params={"path": "x.h5ad", **query}) for route, query in asked)
    )
    assert [response.code for response in found] == [200] * 50
    for i, response in enumerate(found):
        assert response.body == found[i % len(questions)].body


async def test_the_server_answers_others_while_a_file_is_read(file, jp_fetch, jp_serverapp, monkeypatch):
    lab = jp_serverapp.web_app.settings["pm_lab"]
    started, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(answers, "resolve", held(answers.resolve, loop, started, go_on))
    slow = [asyncio.ensure_future(ask(jp_fetch)) for _ in range(lab.max_threads)]
    await started.wait()
    assert (await jp_fetch("api", "status")).code == 200
    assert not any(one.done() for one in slow)
    go_on.set()
    assert [response.code for response in await asyncio.gather(*slow)] == [200] * lab.max_threads


def held(function, loop, started, go_on):
    def wait(*args):
        loop.call_soon_threadsafe(started.set)
        go_on.wait(20)
        return function(*args)

    return wait


async def ask(jp_fetch):
    return await jp_fetch("pm-lab", "anndata", "table", params={"path": "x.h5ad"})


async def test_nothing_is_read_for_a_client_that_left_the_queue(
    file, jp_serverapp, jp_base_url, jp_auth_header, jp_fetch, monkeypatch
):
    lab = jp_serverapp.web_app.settings["pm_lab"]
    started, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    read = []
    monkeypatch.setattr("pm_lab.server.table.page", lambda *args: read.append(1) or {})
    block = [loop.run_in_executor(lab.threads, held(lambda: None, loop, started, go_on)) for _ in range(4)]
    await started.wait()
    _, writer = await asyncio.open_connection("127.0.0.1", jp_serverapp.port)
    address = url_path_join(jp_base_url, "pm-lab/anndata/table?path=x.h5ad")
    head = [f"GET {address} HTTP/1.1", f"Host: localhost:{jp_serverapp.port}"]
    head += [f"{name}: {value}" for name, value in jp_auth_header.items()]
    writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
    await writer.drain()
    while lab.threads._work_queue.qsize() < 1:
        await asyncio.sleep(0.01)
    writer.close()
    await jp_fetch("api", "status")  # by then the server has seen that the other connection is closed
    go_on.set()
    await asyncio.gather(*block)
    await ask(jp_fetch)
    assert len(read) == 1
