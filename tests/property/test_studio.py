"""Whatever is sent to the studio, it answers in words: never with an error of ours."""

import contextlib
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from unbraid.core.errors import ConfigError
from unbraid.core.runs import create_run
from unbraid.studio.desk import Desk
from unbraid.studio.edits import Edit, Edits
from unbraid.studio.messages import Pause, Play, Reset, Sample, Start, Steer, Step, read_message
from unbraid.studio.server import create_app
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.worlds.collect import collect
from unbraid.worlds.experts import make_expert

ENV = "unbraid/PointGoal1-v0"
HERE = {"host": "127.0.0.1"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NEARLY = st.fixed_dictionaries(
    {"do": st.sampled_from(["start", "play", "pause", "step", "reset", "steer", "sample", "fly"])},
    optional={
        "env": st.sampled_from([ENV, "os:Pendulum-v1", ""]),
        "agents": JSON,
        "agent": st.integers(-1, 2),
        "seed": st.integers(-1, 2**31),
        "sliders": st.lists(st.floats(-4, 4), max_size=3),
        "style": st.floats(),
        "sampled": JSON,
        "steps_per_picture": st.integers(0, 9),
    },
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A model that was never trained will do."""
    torch.manual_seed(0)
    run = create_run(tmp_path_factory.mktemp("fuzz") / "run", {"command": "fit"})
    config = UnbraidConfig(n_modes=2, policy_hidden=(8,), encoder_width=4)
    ModeModel(config, observation_size=60, action_size=2).save_pretrained(run / "model")
    demos = collect([("forward", make_expert("forward"))], env_id=ENV, n_episodes=3, seed=0, max_steps=30)
    return Desk(run, demos=demos, env_ids=(ENV,))


@pytest.fixture(scope="module")
def app(desk):
    return create_app(desk)


@pytest.fixture(scope="module")
def guarded(desk):
    return create_app(desk, token="a secret of ours")


# Hypothesis watches the one global generator; the strategies draw from none, but the session lives in other threads.
@pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(NEARLY.map(json.dumps) | JSON.map(json.dumps) | st.text(max_size=40), min_size=1, max_size=6))
def test_a_live_session_answers_whatever_comes(app, messages):
    with TestClient(app, headers=HERE).websocket_connect("/api/live") as socket:
        assert "session" in socket.receive_json()
        for message in messages:
            socket.send_text(message)
        socket.send_text("the last")
        for _ in range(500):
            told = socket.receive_json()
            if "the studio knows" in told.get("error", ""):
                break
        assert "error" in told


@settings(max_examples=60, deadline=None)
@given(body=JSON, path=st.sampled_from(["/api/edits", "/api/teach/answer", "/api/edits/undo", "/api/edits/redo"]))
def test_bodies_are_taken_or_refused(app, body, path):
    here = TestClient(app, headers=HERE, raise_server_exceptions=False)
    content = json.dumps(body).encode()
    assert here.post(path, content=content, headers={"content-type": "application/json"}).status_code < 500


@settings(max_examples=60, deadline=None)
@given(
    path=st.sampled_from(
        ["/api/episodes", "/api/episode", "/api/columns", "/api/fit", "/api/film", "/static/", "/report/"]
    ),
    query=st.dictionaries(
        st.sampled_from(["by", "offset", "limit", "mode", "episode", "column", "log", "session", "agent", "x"]),
        st.text(max_size=12) | st.integers().map(str),
        max_size=4,
    ),
)
def test_queries_are_taken_or_refused(app, path, query):
    here = TestClient(app, headers=HERE, raise_server_exceptions=False)
    assert here.get(path, params=query).status_code < 500


# what a Host or an Origin is made of, whole and in pieces
NAMED = st.lists(
    st.sampled_from(
        ["http", "https", "://", ":", "/", "127.0.0.1", "localhost", "[", "]", "::1", "8377", "99999", "@", "?"]
    )
    | st.text('abc%.-_~0 ;"', max_size=3),
    max_size=6,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(host=NAMED | st.just("127.0.0.1:8377"), origin=NAMED, cookie=NAMED, token=st.booleans())
def test_whoever_says_that_it_is_somebody_is_let_in_or_refused(app, guarded, host, origin, cookie, token):
    here = TestClient(guarded if token else app, raise_server_exceptions=False)
    headers = {"host": host, "origin": origin, "cookie": f"unbraid_studio_8377={cookie}"}
    assert here.post("/api/edits/undo", headers=headers).status_code in ((401, 403) if token else (200, 403))
    with contextlib.suppress(WebSocketDisconnect), here.websocket_connect("/api/live", headers=headers) as socket:
        assert not token
        assert "session" in socket.receive_json()


KNOWN = (Start, Play, Pause, Step, Reset, Steer, Sample)


@given(text=st.text(max_size=200) | JSON.map(json.dumps) | NEARLY.map(json.dumps))
def test_a_message_is_read_or_refused(text):
    with contextlib.suppress(ConfigError):
        assert isinstance(read_message(text), KNOWN)


EDITS = st.builds(
    Edit,
    kind=st.sampled_from(["rename", "merge", "split", "note_mode", "note_episode"]),
    about=st.integers(-1, 5),
    into=st.none() | st.integers(-1, 5),
    text=st.text(max_size=70),
)


@given(edits=st.lists(EDITS, max_size=25))
def test_every_mode_is_shown_once_whatever_was_said_and_undo_goes_all_the_way_back(edits):
    now = first = Edits(5)
    for edit in edits:
        try:
            before, now = now, now.saying(edit)
        except ConfigError:
            continue
        assert now is before or len(now.done) == len(before.done) + 1
        assert len({mode.name.casefold() for mode in now.shown}) == len(now.shown)
        assert sorted(k for mode in now.shown for k in mode.modes) == list(range(5))
        assert {mode.mode for mode in now.shown} == set(now.leads)
    n_said = len(now.done)
    for _ in range(n_said):
        now = now.undo()
    assert now.shown == first.shown
    for _ in range(n_said):
        now = now.redo()
    assert len(now.done) == n_said


def test_the_description_of_the_interface_holds(app):
    """Schemathesis sends what the description allows and what it forbids."""
    from schemathesis import openapi
    from schemathesis.core import NOT_SET

    description = TestClient(app, headers=HERE).get("/openapi.json").json()
    schema = openapi.from_dict(description)
    here = TestClient(app, headers=HERE, raise_server_exceptions=False)
    n_sent = 0
    for operation in schema.get_all_operations():
        case_of = operation.ok().as_strategy()

        @settings(max_examples=8, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=case_of)
        def sends(case):
            nonlocal n_sent
            n_sent += 1
            more = {} if case.body is None or case.body is NOT_SET else {"json": case.body}
            assert here.request(case.method, case.formatted_path, params=case.query, **more).status_code < 500

        sends()
    assert n_sent >= 14
