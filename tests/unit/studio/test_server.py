"""The server is a thin layer: each address gives what the desk says, and refuses in words."""

import asyncio
import json
import re

import pytest
from starlette.testclient import TestClient

from unbraid.core.errors import ConfigError
from unbraid.studio.server import bound_socket, create_app, is_loopback, serve


@pytest.fixture
def here(desk):
    return TestClient(create_app(desk), base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_the_page_and_all_that_it_names_are_there(here):
    page = here.get("/").text
    assert "unbraid studio" in page
    for name in ("style.css", "icon.svg", "app.js", "api.js", "marks.js", "scene.js"):
        assert here.get(f"/static/{name}").status_code == 200
    for name in ("demos", "modes", "steer", "teach", "train", "columns", "waiting"):
        script = here.get(f"/static/{name}.js")
        assert script.status_code == 200
        assert "javascript" in script.headers["content-type"]


def test_nothing_on_the_page_comes_from_elsewhere(here):
    for name in ("", *(f"static/{n}" for n in ("style.css", "app.js", "demos.js", "steer.js", "teach.js", "modes.js"))):
        text = here.get(f"/{name}").text
        assert "http://" not in text.replace("http://www.w3.org/", "")
        assert "https://" not in text


def test_reading_is_what_the_desk_says(here, desk):
    assert here.get("/api/about").json() == json.loads(json.dumps(desk.about()))
    found = here.get("/api/episodes", params={"by": "certainty", "limit": 3}).json()
    assert found["n"] == 8
    assert len(found["rows"]) == 3
    assert here.get("/api/episode", params={"episode": 2}).json()["episode"] == 2
    assert len(here.get("/api/columns", params={"episode": 2, "column": [0, 61]}).json()["columns"]) == 2
    assert here.get("/api/telling").json()["columns"] == desk.telling()
    assert here.get("/api/profiles", params={"column": [0, 61]}).json()["profiles"] == desk.profiles([0, 61])
    assert len(here.get("/api/cards").json()["cards"]) == 2
    assert {entry["mode"] for entry in here.get("/api/deciding").json()["deciding"]} <= {0, 1}
    fit = here.get("/api/fit").json()
    assert [moment["step"] for moment in fit["moments"]] == [10]
    assert fit["logs"] == [{"log": "own", "title": "unbraid's method"}]


def test_what_a_world_does_wrong_is_told_by_teach_too(here, desk, demos, odd, fault):
    changes, said = fault
    desk.env_ids, desk._demos = (odd(**changes),), demos
    answer = here.post("/api/teach/pair")
    assert answer.status_code == 400
    assert re.search(re.sub("seed 5", "seed [0-9]+", said), answer.json()["error"])


def test_edits_are_saved_undone_and_done_again(here, run):
    assert (
        here.post("/api/edits", json={"kind": "rename", "about": 1, "text": " bold "}).json()["modes"][1]["name"]
        == "bold"
    )
    assert json.loads((run / "studio.json").read_text())["done"][0]["text"] == "bold"
    assert here.post("/api/edits/undo").json()["modes"][1]["name"] == "mode 1"
    assert here.post("/api/edits/redo").json()["modes"][1]["name"] == "bold"


def test_an_edit_that_changed_nothing_says_so(here):
    named = {"kind": "rename", "about": 1, "text": "bold"}
    for path, body, changed in (
        ("/undo", None, False),
        ("", named | {"text": "  "}, False),
        ("", named, True),
        ("", named, False),
        ("/redo", None, False),
        ("/undo", None, True),
        ("/redo", None, True),
    ):
        assert here.post(f"/api/edits{path}", json=body).json()["changed"] is changed


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("get", "/api/results", {}, 400),
        ("get", "/api/episodes?by=luck", {}, 422),
        ("get", "/api/episodes?limit=100000", {}, 422),
        ("get", "/api/episode?episode=99", {}, 400),
        ("get", "/api/columns?episode=0&column=99", {}, 400),
        ("get", "/api/profiles?column=99", {}, 400),
        ("get", "/api/profiles", {}, 422),
        ("get", "/api/nothing", {}, 404),
        ("post", "/api/about", {}, 405),
        ("post", "/api/edits", {"json": {"kind": "rename", "about": 7, "text": "x"}}, 400),
        ("post", "/api/edits", {"json": {"kind": "rename", "about": "1"}}, 422),
        ("post", "/api/edits", {"json": {"kind": "rename", "about": 1, "more": 1}}, 422),
        ("post", "/api/edits", {"content": b'{"kind": "rename", "about": NaN}'}, 422),
        ("post", "/api/edits", {"content": b'{"kind": "rename", "about": 1, "text": "\\ud800"}'}, 422),
        ("post", "/api/edits", {"content": b"\xff\xfe"}, 422),
        ("post", "/api/teach/answer", {"json": {"pair": "none", "answer": "left"}}, 400),
        ("get", "/api/film?session=none", {}, 400),
    ],
)
def test_what_cannot_be_is_refused_in_words(here, method, path, more, status):
    headers = {"content-type": "application/json"} if "content" in more else {}
    answer = getattr(here, method)(path, headers=headers, **more)
    assert answer.status_code == status
    assert "must" in answer.json()["error"] or "need" in answer.json()["error"]


def test_a_body_that_is_nested_too_deeply_is_refused(here):
    answer = here.post("/api/edits", headers={"content-type": "application/json"}, content=b"[" * 30_000)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("A request must be one that can be read; ")


def test_what_is_not_served_is_said_as_all_else_is(here):
    assert here.get("/nothing").json()["error"].startswith("The address must be one that the studio has; /nothing is")
    answer = here.post("/api/about")
    assert answer.headers["allow"] == "GET"
    assert answer.json()["error"].startswith("/api/about must be asked for with GET; got POST.")


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/plain"}])
def test_a_body_that_does_not_say_that_it_is_json_is_told_so(here, headers):
    answer = here.post("/api/edits", content=b'{"kind": "rename", "about": 1, "text": "x"}', headers=headers)
    assert answer.status_code == 415
    assert "must be JSON and say so with the header Content-Type: application/json" in answer.json()["error"]
    assert "a body" not in here.post("/api/edits").json()["error"].lower()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/report/../run.json",
        "/report/%2e%2e/run.json",
        "/report/..%2f..%2f..%2fetc/passwd",
        "/report//etc/passwd",
        "/report/link/passwd",
        "/report/%00",
        "/report/" + "x" * 5000,
        "/report/none.html",
    ],
)
def test_no_file_outside_its_folder_is_served(desk, run, path):
    (run / "report").mkdir()
    (run / "report" / "index.html").write_text("the report")
    (run / "report" / "link").symlink_to("/etc")
    here = TestClient(create_app(desk), base_url="http://127.0.0.1", raise_server_exceptions=False)
    assert here.get("/report/index.html").text == here.get("/report/").text == "the report"
    assert here.get(path).status_code in (404, 405)


def test_a_disk_that_refuses_is_said(here, run, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unbraid.core.runs.os.replace", refuse)
    answer = here.post("/api/edits", json={"kind": "rename", "about": 1, "text": "x"})
    assert answer.status_code == 507
    assert "Free some space" in answer.json()["error"]
    assert here.get("/api/about").json()["modes"][1]["name"] == "mode 1"


def test_a_note_is_of_an_episode_that_is_there(here, run):
    for episode, status in ((7, 200), (8, 400), (99999, 400)):
        answer = here.post("/api/edits", json={"kind": "note_episode", "about": episode, "text": "odd"})
        assert answer.status_code == status
    assert "An episode must lie in [0, 8); got 99999" in answer.json()["error"]
    assert [edit["about"] for edit in json.loads((run / "studio.json").read_text())["done"]] == [7]
    untold = here.post("/api/edits", json={"kind": "note_episode", "about": 99999, "text": ""})
    assert untold.status_code == 200  # so that a note of before, on other data, can be taken away


@pytest.mark.parametrize(
    ("token", "quoted"), [("a b&c=d#e", "a%20b%26c%3Dd%23e"), ("pässwörd €", "p%C3%A4ssw%C3%B6rd%20%E2%82%AC")]
)
def test_the_address_that_is_said_can_be_opened_whatever_the_token_holds(desk, monkeypatch, token, quoted):
    told: list[str] = []
    monkeypatch.setattr("unbraid.studio.server.uvicorn.Server.serve", lambda *_, **__: asyncio.sleep(0))
    serve(desk, port=0, token=token, open_browser=False, said=told.append)
    (address,) = told
    assert address.endswith(f"/?token={quoted}")
    here = TestClient(create_app(desk, token=token), base_url="http://127.0.0.1", follow_redirects=False)
    assert here.get(address.partition("/?")[1] + address.partition("/?")[2]).status_code == 303
    assert here.get("/").status_code == 200  # by the cookie


def test_only_this_machine_is_loopback():
    assert all(is_loopback(host) for host in ("127.0.0.1", "localhost", "::1"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "10.0.0.1", "::", "example.org"))


def test_a_port_that_is_taken_is_said():
    with bound_socket("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="must be free to listen on"):
        bound_socket("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ConfigError, match="must be free"):
        bound_socket("127.0.0.1", 99_999)
