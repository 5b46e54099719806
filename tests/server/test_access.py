"""Who may ask, and for which files: tokens, paths, links, drives, and servers without a folder."""

import os

import anndata
import numpy as np
import pytest
from jupyter_server.auth import AllowAllAuthorizer
from jupyter_server.services.contents.manager import ContentsManager

from pm_lab.server.routes import ROUTES

VERBS = ("get", "post", "put", "patch", "delete", "head")
DATA_ROUTES = [route for route, _ in ROUTES if route.startswith("anndata/")]


@pytest.fixture
def jp_server_config():
    return {
        "ServerApp": {
            "jpserver_extensions": {"pm_lab.server": True},
            # A missing decorator must show as an answer, not as a refusal for another reason.
            "allow_unauthenticated_access": True,
            "disable_check_xsrf": True,
        }
    }


@pytest.fixture
def strict_config(jp_server_config):
    jp_server_config["ServerApp"]["allow_unauthenticated_access"] = False


def write(path):
    anndata.AnnData(np.eye(3, dtype="float32")).write_h5ad(path)
    return path


async def every_verb_refused(jp_fetch, **headers):
    for route, _ in ROUTES:
        for verb in VERBS:  # those that a route does not have, too
            response = await jp_fetch(
                *("pm-lab", *route.split("/")),
                method=verb.upper(),
                body="{}" if verb in ("post", "put", "patch") else None,
                headers=headers,
                params={"path": "x.h5ad"},
                raise_error=False,
            )
            assert response.code == 403, (route, verb)


def test_every_verb_asks_for_a_token_itself():
    for route, handler in ROUTES:
        verbs = [verb for verb in VERBS if verb in vars(handler)]
        assert verbs, route
        for verb in verbs:  # what web.authenticated returns wraps the method
            assert hasattr(vars(handler)[verb], "__wrapped__"), (route, verb)


async def test_no_verb_of_any_route_answers_without_a_token(jp_fetch):
    await every_verb_refused(jp_fetch, Authorization="token wrong")


async def test_nor_where_the_server_refuses_by_default(strict_config, jp_fetch):
    await every_verb_refused(jp_fetch, Authorization="token wrong")


async def test_whom_the_authorizer_forbids_to_is_refused(jp_fetch, jp_serverapp, jp_root_dir, call):
    write(jp_root_dir / "x.h5ad")
    asked = []

    class ReadsOnly(AllowAllAuthorizer):
        def is_authorized(self, handler, user, action, resource):
            asked.append((action, resource))
            return action == "read"

    jp_serverapp.web_app.settings["authorizer"] = ReadsOnly()
    assert (await call("anndata/structure", path="x.h5ad"))[0] == 200
    body = {"path": "x.h5ad", "kind": "open"}
    status, answer = await call("notebook", method="POST", body=body)
    assert status == 403 and "administrator" in answer["mend"]
    assert not list(jp_root_dir.glob("*.ipynb"))
    assert asked == [("read", "contents"), ("write", "contents")]
    jp_serverapp.web_app.settings["authorizer"].is_authorized = lambda *args: False
    await every_verb_refused(jp_fetch)


@pytest.mark.parametrize("jp_base_url", ["/", "/user/ann%40example.org/lab-1/"])
async def test_paths_stay_within_the_root(jp_root_dir, call, jp_base_url):
    write(jp_root_dir / "inside.h5ad")
    (jp_root_dir / "folder").mkdir()
    write(jp_root_dir / "folder" / "deep.h5ad")
    outside = jp_root_dir.parent / "outside.h5ad"
    write(outside)
    sibling = jp_root_dir.parent / f"{jp_root_dir.name}-sibling"
    sibling.mkdir()
    write(sibling / "x.h5ad")
    for path in ("inside.h5ad", "/inside.h5ad", "folder/deep.h5ad", "./inside.h5ad", "folder//deep.h5ad"):
        assert (await call("anndata/structure", path=path))[0] == 200, path
    for path in (
        "../outside.h5ad",
        "folder/../../outside.h5ad",
        "folder/../inside.h5ad",
        "..%2Foutside.h5ad",
        "%2e%2e/outside.h5ad",
        "..\\outside.h5ad",
        str(outside),
        f"/{outside}",
        f"../{sibling.name}/x.h5ad",
        f"{sibling}/x.h5ad",
        "file:///etc/passwd",
        "RTC:../outside.h5ad",
        "inside.h5ad\0.txt",
        "x" * 5_000,
        "",
        "/",
        "~/x.h5ad",
    ):
        status, body = await call("anndata/structure", path=path)
        assert status in (400, 403, 404), path
        assert set(body) == {"what", "where", "mend"}
        assert str(jp_root_dir.parent) not in body["what"] + body["mend"]


async def test_every_data_route_checks_the_path(jp_root_dir, call):
    write(jp_root_dir.parent / "outside.h5ad")
    query = {"key": "X_umap", "obs": "a", "name": "a"}
    for route in DATA_ROUTES:
        assert (await call(route, path="../outside.h5ad", **query))[0] == 403, route
        assert (await call(route, path="missing.h5ad", **query))[0] == 404, route


async def test_links_out_of_the_root_need_the_setting(jp_root_dir, call, jp_serverapp):
    outside = jp_root_dir.parent / "elsewhere"
    outside.mkdir()
    write(outside / "x.h5ad")
    write(jp_root_dir / "inside.h5ad")
    os.symlink(outside / "x.h5ad", jp_root_dir / "link.h5ad")
    os.symlink(outside, jp_root_dir / "folder")
    os.symlink(jp_root_dir / "inside.h5ad", jp_root_dir / "near.h5ad")
    assert (await call("anndata/structure", path="near.h5ad"))[0] == 200
    for path in ("link.h5ad", "folder/x.h5ad"):
        status, body = await call("anndata/structure", path=path)
        assert status == 403
        assert "PmLab.follow_symlinks" in body["mend"]
        assert str(outside) not in str(body)
    jp_serverapp.web_app.settings["pm_lab"].follow_symlinks = True
    for path in ("link.h5ad", "folder/x.h5ad"):
        assert (await call("anndata/structure", path=path))[0] == 200
    assert (await call("anndata/structure", path="folder/../x.h5ad"))[0] == 403


async def test_the_setting_is_read_from_the_servers_configuration(
    jp_configurable_serverapp, jp_server_config
):
    config = {**jp_server_config, "PmLab": {"follow_symlinks": True, "max_threads": 2}}
    lab = jp_configurable_serverapp(config=config).web_app.settings["pm_lab"]
    assert lab.follow_symlinks and lab.max_threads == 2


async def test_drives_of_jupyterlab_are_stripped(jp_root_dir, call):
    write(jp_root_dir / "a.h5ad")
    write(jp_root_dir / "a:b.h5ad")
    assert (await call("anndata/structure", path="RTC:a.h5ad"))[1]["path"] == "a.h5ad"
    assert (await call("anndata/structure", path="RTC:/a.h5ad"))[1]["path"] == "a.h5ad"
    assert (await call("anndata/structure", path="a:b.h5ad"))[1]["path"] == "a:b.h5ad"


async def test_hidden_files_follow_the_contents_manager(jp_root_dir, call, jp_serverapp):
    (jp_root_dir / ".hidden").mkdir()
    write(jp_root_dir / ".hidden" / "x.h5ad")
    write(jp_root_dir / ".x.h5ad")
    os.symlink(jp_root_dir / ".x.h5ad", jp_root_dir / "plain.h5ad")
    paths = (".hidden/x.h5ad", ".x.h5ad", "plain.h5ad")
    for path in paths:
        assert (await call("anndata/structure", path=path))[0] == 404
    jp_serverapp.contents_manager.allow_hidden = True
    for path in paths:
        assert (await call("anndata/structure", path=path))[0] == 200


async def test_a_server_without_a_folder_points_to_the_notebook(call, jp_serverapp):
    jp_serverapp.web_app.settings["contents_manager"] = ContentsManager()
    status, body = await call("anndata/structure", path="x.h5ad")
    assert status == 409
    assert "pm.view" in body["mend"]
