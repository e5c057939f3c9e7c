"""Who may talk to the studio: checks of Host, Origin, token and size, before anything else looks at a request."""

import hmac
import ipaddress
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, final
from urllib.parse import parse_qs, quote, unquote_to_bytes, urlsplit

from unbraid.core.errors import ConfigError

__all__ = ["LARGEST_BODY", "Gate", "require_token"]

LARGEST_BODY = 64 * 1024
_COOKIE = "unbraid_studio"
_SHORTEST_TOKEN = 8
_ELSEWHERE = "The request must come from the studio's own page; it comes from another. Open the studio itself."
_TOO_LARGE = f"A message must have at most {LARGEST_BODY:,} bytes; this one has more. Send less."
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PAGE = "default-src 'self'; img-src 'self' blob: data:; media-src blob:; frame-ancestors 'none'; base-uri 'none'"
_REPORT = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; script-src 'none'"

_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


@final
class Gate:
    """An ASGI application around another.

    A page of another site cannot talk to the studio: its requests carry its own Origin, and a name of its own that it
    points at this machine (DNS rebinding) shows in Host.
    """

    def __init__(self, app: Any, *, host: str = "127.0.0.1", token: str | None = None) -> None:
        """Stands before an application.

        Args:
            app: the application.
            host: what the server binds to; a browser may name it, or this machine's loopback. When that is all
                addresses, any literal address may be named, but no name.
            token: what a request must bring, as ``?token=``, a bearer or the cookie that follows; None for none.

        Raises:
            ConfigError: a token that is too easily guessed, as `require_token`.
        """
        if token is not None:
            require_token(token)
        self._app, self._token = app, token
        self._hosts = {*_LOOPBACK, host.lower()}
        self._any_address = host in ("0.0.0.0", "::", "")

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """One connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, send, *refusal)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif self._token is not None and scope["path"] == "/" and "token" in parse_qs(_query(scope)):
            # Lax: a link on another site may lead here (a strict cookie is not sent then), but that site's own requests
            # come without it; and those that change something are let in by their Origin alone.
            cookie = f"{_cookie_name(headers)}={quote(self._token, safe='')}; HttpOnly; SameSite=Lax; Path=/"
            await _answer(send, 303, b"", [(b"location", b"/"), (b"set-cookie", cookie.encode())])
        elif (body := await _whole_body(receive)) is None:
            await _refuse(scope, send, 413, _TOO_LARGE)
        else:
            await self._app(scope, _replayed(body, receive), _with_headers(send, scope["path"]))

    def _refusal(self, scope: _Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        if not self._is_our_host(headers.get("host", "")):
            return (
                403,
                "The Host header must name this machine; it does not. Open the address that `unbraid studio` said.",
            )
        origin = headers.get("origin")
        if origin is not None and not _is_from(origin, headers["host"]):
            return 403, _ELSEWHERE
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and scope["path"] != "/":
            return 403, _ELSEWHERE
        if self._token is not None and not self._has_token(scope, headers):
            return (
                401,
                "The studio needs its token; none came, or another. Open the address that `unbraid studio` said.",
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:12]) > LARGEST_BODY:
            return 413, _TOO_LARGE
        return None

    def _is_our_host(self, given: str) -> bool:
        try:
            parts = urlsplit(f"//{given}")
            name, _ = parts.hostname or "", parts.port  # a port that is none raises, too
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            return self._any_address and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def _has_token(self, scope: _Scope, headers: dict[str, str]) -> bool:
        offered = [given.encode() for given in parse_qs(_query(scope)).get("token", [])]
        bearer = headers.get("authorization", "")
        offered += [bearer[7:].encode("latin-1")] if bearer.lower().startswith("bearer ") else []
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(_cookie_name(headers))
        except CookieError:
            cookie = None
        offered += [] if cookie is None else [unquote_to_bytes(cookie.value)]
        due = (self._token or "").encode()
        return any(one and hmac.compare_digest(one, due) for one in offered)


def require_token(token: str) -> None:
    """Raises `ConfigError` for a token that is too easily guessed, or that no address can hold."""
    if len(token) < _SHORTEST_TOKEN or not token.isprintable():
        raise ConfigError(
            f"--token must be at least {_SHORTEST_TOKEN} printable characters, so that nobody guesses it; got "
            f"{len(token)}. Give a longer one, or leave it out: where it is needed, one is made up."
        )


def _cookie_name(headers: dict[str, str]) -> str:
    """With the port that the browser knows, as it keeps one set of cookies for all ports of a machine."""
    port = urlsplit(f"//{headers['host']}").port
    return _COOKIE if port is None else f"{_COOKIE}_{port}"


def _is_from(origin: str, host: str) -> bool:
    """Whether an Origin is that of the page that this host served."""
    try:
        parts = urlsplit(origin)
    except ValueError:  # it is no address
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _query(scope: _Scope) -> str:
    return scope.get("query_string", b"").decode("latin-1")


async def _whole_body(receive: _Receive) -> list[_Message] | None:
    """What came of a request, up to its end; None where that is more than it may be, as its header need not tell."""
    messages: list[_Message] = []
    n_bytes = 0
    while True:
        message = await receive()
        messages.append(message)
        n_bytes += len(message.get("body") or b"")
        if n_bytes > LARGEST_BODY:
            return None
        if message["type"] != "http.request" or not message.get("more_body", False):
            return messages


def _replayed(messages: list[_Message], receive: _Receive) -> _Receive:
    """Gives what came before, then what comes."""
    waiting = deque(messages)

    async def replayed() -> _Message:
        return waiting.popleft() if waiting else await receive()

    return replayed


def _with_headers(send: _Send, path: str) -> _Send:
    """Tells the browser what it may do with an answer."""
    policy = _REPORT if path.startswith("/report/") else _PAGE
    told = [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]

    async def with_headers(message: _Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in told}
            message["headers"] = [pair for pair in message.get("headers", []) if pair[0].lower() not in own] + told
        await send(message)

    return with_headers


async def _refuse(scope: _Scope, send: _Send, status: int, message: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": message[:100]})  # before it is accepted: a 403
        return
    await _answer(send, status, message.encode(), [(b"content-type", b"text/plain; charset=utf-8")])


async def _answer(send: _Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
