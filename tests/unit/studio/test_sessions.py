"""Live sessions: what is asked is done and said, many side by side, and bounded in every way."""

import re

import anyio
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from unbraid.studio.server import create_app
from unbraid.studio.sessions import Sessions

ENV = "unbraid/PointGoal1-v0"
START = {"do": "start", "env": ENV, "seed": 5}


@pytest.fixture
def here(desk):
    with TestClient(create_app(desk, most_sessions=3), headers={"host": "127.0.0.1"}) as made:
        yield made


def heard(socket, name):
    """The next message that has a name; what comes before is passed over."""
    for _ in range(200):
        message = socket.receive_json()
        if name in message:
            return message
    raise AssertionError(f"no {name} came")


def pictures(socket, n):
    return [heard(socket, "agents") for _ in range(n)]


def test_it_starts_steps_steers_and_resets(here):
    with here.websocket_connect("/api/live") as socket:
        assert "session" in socket.receive_json()
        socket.send_json(START | {"agents": 2})
        started = heard(socket, "started")["started"]
        assert (started["seed"], started["n_agents"], started["steps_per_s"]) == (5, 2, 50)
        assert heard(socket, "agents")["agents"][1]["step"] == 0
        socket.send_json({"do": "step"})
        assert heard(socket, "agents")["agents"][0]["step"] == 1
        socket.send_json({"do": "steer", "agent": 1, "sliders": [-1.0, 0.5]})
        asked = heard(socket, "asked")["asked"]
        assert (asked["agent"], asked["instruction"]["away"], asked["instruction"]["mode"]) == (1, [[0, 1.0]], 1)
        socket.send_json({"do": "reset", "seed": 6})
        assert heard(socket, "started")["started"]["seed"] == 6


def test_a_name_is_heeded_while_it_plays(here):
    with here.websocket_connect("/api/live") as socket:
        socket.send_json(START)
        socket.send_json({"do": "step"})
        here.post("/api/edits", json={"kind": "rename", "about": 1, "text": "bold"})
        heard(socket, "asked")
        socket.send_json({"do": "steer", "sliders": [0.0, 1.0]})
        assert heard(socket, "asked")["asked"]["words"] == "towards bold"
        assert heard(socket, "agents")["agents"][0]["step"] == 1


def test_it_plays_until_it_is_paused(here):
    with here.websocket_connect("/api/live") as socket:
        socket.send_json(START)
        socket.send_json({"do": "play", "steps_per_picture": 2})
        steps = [picture["agents"][0]["step"] for picture in pictures(socket, 6)]
        assert steps == sorted(steps)
        assert steps[-1] >= 4
        socket.send_json({"do": "pause"})
        while heard(socket, "agents")["playing"]:
            pass


def test_what_makes_no_sense_is_said_and_the_session_goes_on(here):
    with here.websocket_connect("/api/live") as socket:
        for text in ("nonsense", '{"do": "fly"}', '{"do": "play"}'):
            socket.send_text(text)
            assert "must" in heard(socket, "error")["error"]
        socket.send_bytes(b"\x00")
        assert "must" in heard(socket, "error")["error"]
        socket.send_json(START | {"env": "Pendulum-v1"})
        assert "must be one that the studio offers" in heard(socket, "error")["error"]
        socket.send_json(START)
        assert heard(socket, "started")
        socket.send_json({"do": "steer", "sliders": [1.0]})
        assert "Sliders must be 2 numbers" in heard(socket, "error")["error"]


def test_a_client_that_makes_no_sense_for_too_long_is_sent_away(here):
    with here.websocket_connect("/api/live") as socket:
        for _ in range(60):
            socket.send_text("nonsense")
        with pytest.raises(WebSocketDisconnect) as closed:
            heard(socket, "nothing")
        assert closed.value.code == 1008


def test_there_are_so_many_sessions_and_no_more_until_one_ends(here):
    one = here.websocket_connect("/api/live")
    with here.websocket_connect("/api/live"), here.websocket_connect("/api/live"):
        with one as socket:
            socket.receive_json()
            with here.websocket_connect("/api/live") as further, pytest.raises(WebSocketDisconnect) as closed:
                further.receive_json()
            assert closed.value.code == 1013
        with here.websocket_connect("/api/live") as again:
            assert "session" in again.receive_json()


@pytest.fixture
def in_odd(desk, odd):
    """A client of a studio that offers an odd world."""

    def make(**changes):
        desk.env_ids = (odd(**changes),)
        return TestClient(create_app(desk), headers={"host": "127.0.0.1"})

    return make


@pytest.mark.parametrize("do", ["play", "step"])
def test_a_session_says_what_its_world_did_wrong_and_ends(in_odd, fault, do):
    changes, said = fault
    with in_odd(**changes).websocket_connect("/api/live") as socket:
        socket.send_json({"do": "start", "env": "Odd-v0", "seed": 5})
        for _ in range(2):
            socket.send_json({"do": do})
        assert re.search(said, heard(socket, "error")["error"])
        with pytest.raises(WebSocketDisconnect) as closed:
            heard(socket, "nothing")
        assert (closed.value.code, closed.value.reason[:35]) == (1011, "The session could not go on. Press ")


def test_what_is_our_own_fault_is_said_too(here, monkeypatch, capsys):
    def fails(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("unbraid.studio.live.LiveRollout.frame", fails)
    with here.websocket_connect("/api/live") as socket:
        socket.send_json(START)
        assert "ended with RuntimeError: a bug" in heard(socket, "error")["error"]
        with pytest.raises(WebSocketDisconnect) as closed:
            heard(socket, "nothing")
        assert closed.value.code == 1011
    assert "RuntimeError: a bug" in capsys.readouterr().err


def test_an_idle_session_ends(desk):
    here = TestClient(create_app(desk, idle_s=0.05), headers={"host": "127.0.0.1"})
    with here.websocket_connect("/api/live") as socket:
        socket.receive_json()
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 1000
        assert "Press play" in closed.value.reason


def test_a_session_is_filmed(here):
    with here.websocket_connect("/api/live") as socket:
        name = socket.receive_json()["session"]
        assert "has none yet" in here.get("/api/film", params={"session": name}).json()["error"]
        socket.send_json(START)
        heard(socket, "agents")
        assert "at least one step" in here.get("/api/film", params={"session": name}).json()["error"]
        for _ in range(3):
            socket.send_json({"do": "step"})
            heard(socket, "agents")
        film = here.get("/api/film", params={"session": name})
        assert film.headers["content-type"] == "video/mp4"
        assert film.content[4:8] == b"ftyp"
        assert here.get("/api/film", params={"session": name, "agent": 1}).status_code == 400
    assert "does not" in here.get("/api/film", params={"session": name}).json()["error"]


@pytest.mark.parametrize("after", range(12))
def test_a_client_that_leaves_while_the_session_is_cancelled_leaves_nothing_behind(desk, after):
    """The cancellation must stay its scope's own at every moment of the end, or a server takes it for its own."""

    class Leaving:
        async def accept(self):
            pass

        async def send_text(self, _):
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):  # slow to stop
                    await anyio.lowlevel.checkpoint()

        async def receive_text(self):
            raise WebSocketDisconnect

    async def within(sessions, scope, went_on):
        with scope:
            await sessions.serve(Leaving())
        went_on.append(True)

    async def cancelled():
        sessions, scope, went_on = Sessions(desk), anyio.CancelScope(), []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(within, sessions, scope, went_on)
            for _ in range(after):
                await anyio.lowlevel.checkpoint()
            scope.cancel()
        assert sessions.n_live == 0
        assert went_on
        sessions.close()

    anyio.run(cancelled)
