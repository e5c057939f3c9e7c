"""Only the studio's own page talks to the studio."""

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from unbraid.core.errors import ConfigError
from unbraid.studio.gate import LARGEST_BODY
from unbraid.studio.server import create_app

HERE = "http://127.0.0.1:8377"
TOKEN = "a secret; of=ours é"
QUOTED = "a%20secret%3B%20of%3Dours%20%C3%A9"


def client(desk, **asked):
    return TestClient(
        create_app(desk, **asked), base_url=HERE, headers={"host": "127.0.0.1:8377"}, follow_redirects=False
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8377", "localhost:8377", "LOCALHOST", "[::1]:8377"])
def test_this_machine_may_be_named(desk, host):
    assert client(desk).get("/api/about", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8377",
        "127.0.0.1.evil.example",
        "",
        "[",
        "10.0.0.7",
        "127.0.0.1:x",
        "127.0.0.1:99999",
    ],
)
def test_another_name_for_this_machine_is_refused(desk, host):
    assert client(desk).get("/api/about", headers={"host": host}).status_code == 403


def test_all_addresses_may_be_named_by_number_and_not_by_name(desk):
    open_one = client(desk, host="0.0.0.0", token="long enough")
    for host, status in (("10.0.0.7:8377", 200), ("[fe80::1]:8377", 200), ("evil.example", 403)):
        assert open_one.get("/api/about?token=long%20enough", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "http://127.0.0.1:9999", "file://127.0.0.1:8377", "http://localhost:8377"),
        *("http://[", "http://[::1", "", "http://"),
    ],
)
def test_another_origin_is_refused(desk, origin):
    here = client(desk)
    assert here.post("/api/edits/undo", headers={"origin": origin}).status_code == 403
    with pytest.raises(WebSocketDisconnect), here.websocket_connect("/api/live", headers={"origin": origin}):
        pass


def test_its_own_origin_is_not(desk):
    here = client(desk)
    headers = {"origin": HERE, "host": "127.0.0.1:8377"}
    assert here.post("/api/edits/undo", headers=headers).status_code == 200
    with here.websocket_connect("/api/live", headers=headers) as socket:
        assert "session" in socket.receive_json()


def test_a_browser_that_says_it_is_another_site_is_refused(desk):
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        assert client(desk).get("/api/about", headers={"sec-fetch-site": site}).status_code == status


def test_a_token_is_asked_for_and_turned_into_a_cookie(desk):
    guarded = client(desk, token=TOKEN)
    assert guarded.get("/").status_code == 401
    assert guarded.get("/?token=wrong").status_code == 401
    bearer = {"authorization": f"Bearer {TOKEN}".encode()}
    assert guarded.get("/api/about", headers=bearer).status_code == 200
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/api/live"):
        pass
    first = guarded.get(f"/?token={QUOTED}")
    assert (first.status_code, first.headers["location"]) == (303, "/")
    assert "HttpOnly" in first.headers["set-cookie"]
    assert guarded.get("/api/about").status_code == 200
    cookie = first.headers["set-cookie"].partition(";")[0]
    assert cookie == f"unbraid_studio_8377={QUOTED}"
    with guarded.websocket_connect("/api/live", headers={"cookie": cookie}) as socket:
        assert "session" in socket.receive_json()


def test_a_link_on_another_site_leads_to_the_page_and_changes_nothing(desk):
    """The cookie is lax, so that a browser sends it after the redirect; no request of another site gets further."""
    guarded = client(desk, token=TOKEN)
    elsewhere = {"sec-fetch-site": "cross-site"}
    first = guarded.get(f"/?token={QUOTED}", headers=elsewhere)
    assert "SameSite=Lax" in first.headers["set-cookie"]
    assert guarded.get("/", headers=elsewhere).status_code == 200
    for headers in (elsewhere, {"origin": "http://evil.example"}):
        for path in ("/api/edits", "/api/edits/undo", "/api/edits/redo", "/api/teach/pair", "/api/teach/undo"):
            assert guarded.post(path, headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/api/live", headers=elsewhere):
        pass


def test_two_studios_on_one_machine_keep_a_cookie_each(desk):
    guarded = client(desk, token=TOKEN)
    names = [
        guarded.get(f"/?token={QUOTED}", headers={"host": host}).headers["set-cookie"].partition("=")[0]
        for host in ("127.0.0.1:8377", "127.0.0.1:8378", "127.0.0.1")
    ]
    assert names == ["unbraid_studio_8377", "unbraid_studio_8378", "unbraid_studio"]
    other = {"cookie": f"unbraid_studio_8378={QUOTED}"}
    assert client(desk, token=TOKEN).get("/api/about", headers=other).status_code == 401


@pytest.mark.parametrize("token", ["", "short", "seven..", "with a\nline", "\udc80 eight or so"])
def test_a_token_that_is_easily_guessed_or_cannot_be_sent_is_refused(desk, token):
    with pytest.raises(ConfigError, match="must be at least 8 printable characters"):
        create_app(desk, token=token)


@pytest.mark.parametrize(
    "cookie", ["8377=wrong", "8377", "=", "a\x80=b; unbraid_studio_8377=é", "8377=", '8377=""', f"={QUOTED}"]
)
def test_a_broken_cookie_is_no_token(desk, cookie):
    headers = {"cookie": f"unbraid_studio_{cookie}".encode("latin-1")}
    assert client(desk, token=TOKEN).get("/api/about", headers=headers).status_code == 401
    assert client(desk, token=TOKEN).get("/api/about?token=", headers=headers).status_code == 401


def test_a_message_that_is_too_large_is_refused(desk):
    here = client(desk)
    assert here.post("/api/edits", content=b"x" * (LARGEST_BODY + 1)).status_code == 413
    assert here.post("/api/edits", headers={"content-length": "9" * 400}).status_code == 413


def test_a_large_message_in_chunks_is_refused_likewise(desk):
    """Its header does not tell how long it is."""

    def chunks(n):
        for _ in range(n):
            yield b" " * 4096

    here, headers = client(desk), {"content-type": "application/json"}
    answer = here.post("/api/edits", content=chunks(40), headers=headers)
    assert answer.status_code == 413
    assert "must have at most 65,536 bytes" in answer.text
    assert here.post("/api/edits", content=chunks(LARGEST_BODY // 4096), headers=headers).status_code == 422
    edit = (part for part in (b'{"kind": "rename", "about": 1, ', b'"text": "bold"}'))
    assert here.post("/api/edits", content=edit, headers=headers).json()["modes"][1]["name"] == "bold"


def test_answers_tell_the_browser_to_be_strict(desk):
    headers = client(desk).get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
