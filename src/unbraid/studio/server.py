"""The studio's server: a thin layer over the desk and the live sessions."""

import asyncio
import secrets
import socket
import threading
import webbrowser
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from unbraid.core.errors import ConfigError, RunError, StorageError, UnbraidError
from unbraid.studio.catalogue import LONGEST_PAGE, Order
from unbraid.studio.desk import Desk
from unbraid.studio.edits import Edit, Edits
from unbraid.studio.fitting import logs_of, moments_since, pictures_since
from unbraid.studio.gate import Gate
from unbraid.studio.messages import AnswerBody, EditBody, said_of
from unbraid.studio.sessions import Sessions

__all__ = ["bound_socket", "create_app", "is_loopback", "serve"]

_LARGEST_MESSAGE = 8 * 1024
_Number = Annotated[int, Query(ge=0, lt=2**53)]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what binds to an address."""
    return host in ("127.0.0.1", "localhost", "::1")


def create_app(
    desk: Desk, *, host: str = "127.0.0.1", token: str | None = None, most_sessions: int = 32, idle_s: float = 600.0
) -> Gate:
    """The studio as an ASGI application.

    Args:
        desk: the run.
        host: what the server binds to, as `Gate` needs to know.
        token: what every request must bring; None for none.
        most_sessions: how many live sessions there may be.
        idle_s: after how long an idle one ends.

    Raises:
        ConfigError: a token that is too easily guessed.
    """
    sessions = Sessions(desk, most=most_sessions, idle_s=idle_s)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        sessions.close()

    app = FastAPI(title="unbraid studio", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_exception_handler(UnbraidError, _unbraid_error)
    app.add_exception_handler(RequestValidationError, _wrong_request)
    app.add_exception_handler(HTTPException, _no_such_request)
    _add_reading(app, desk)
    _add_changing(app, desk)
    _add_live(app, sessions)
    static = Path(str(files("unbraid.studio") / "static"))
    app.get("/", include_in_schema=False)(lambda: FileResponse(static / "index.html"))
    app.mount("/static", StaticFiles(directory=static))
    app.get("/report/{path:path}", include_in_schema=False)(lambda path: _below(desk.run / "report", path))
    return Gate(app, host=host, token=token)


def _add_reading(app: FastAPI, desk: Desk) -> None:
    """What the page asks for."""

    @app.get("/api/about")
    def about() -> dict[str, Any]:
        return desk.about()

    @app.get("/api/results")
    def results() -> dict[str, Any]:
        return desk.results()

    @app.get("/api/episodes")
    def episodes(
        by: Order = "odd",
        descending: bool = False,
        offset: _Number = 0,
        limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 100,
        mode: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
    ) -> dict[str, Any]:
        return desk.episodes(by, descending=descending, offset=offset, limit=limit, mode=mode)

    @app.get("/api/episode")
    def episode(episode: _Number) -> dict[str, Any]:
        return desk.episode(episode)

    @app.get("/api/columns")
    def columns(episode: _Number, column: Annotated[list[_Number], Query(max_length=64)]) -> dict[str, Any]:
        return {"columns": desk.columns(episode, column)}

    @app.get("/api/telling")
    def telling() -> dict[str, Any]:
        return {"columns": desk.telling()}

    @app.get("/api/profiles")
    def profiles(column: Annotated[list[_Number], Query(max_length=64)]) -> dict[str, Any]:
        return {"profiles": desk.profiles(column)}

    @app.get("/api/cards")
    def cards() -> dict[str, Any]:
        return desk.cards()

    @app.get("/api/deciding")
    def deciding() -> dict[str, Any]:
        return {"deciding": desk.deciding()}

    @app.get("/api/fit")
    def fit(log: Annotated[str, Query(max_length=20)] = "own", offset: _Number = 0) -> dict[str, Any]:
        return {"logs": logs_of(desk.run, desk.method), **moments_since(desk.run, log, offset)}

    @app.get("/api/fit/pictures")
    def pictures(offset: _Number = 0) -> dict[str, Any]:
        return pictures_since(desk.run, offset)

    @app.get("/api/fit/paths")
    def paths() -> dict[str, Any]:
        return desk.paths.now()

    @app.get("/api/teach")
    def teach() -> dict[str, Any]:
        return desk.teacher.learned(desk.edits.edits.shown)


def _add_changing(app: FastAPI, desk: Desk) -> None:
    """What the page changes."""

    def after(change: Callable[[], Edits]) -> dict[str, Any]:
        """What is shown now, and whether anything changed: there may have been nothing to undo."""
        before = desk.edits.edits
        changed = change() != before
        return {**desk.shown(), "changed": changed}

    @app.post("/api/edits")
    def say(edit: EditBody) -> dict[str, Any]:
        return after(lambda: desk.say(Edit(edit.kind, edit.about, edit.into, edit.text.strip())))

    @app.post("/api/edits/undo")
    def undo() -> dict[str, Any]:
        return after(desk.edits.undo)

    @app.post("/api/edits/redo")
    def redo() -> dict[str, Any]:
        return after(desk.edits.redo)

    @app.post("/api/teach/pair")
    def pair(blends: bool = False) -> dict[str, Any]:
        return desk.teacher.pair(desk.edits.edits.shown, blends=blends)

    @app.post("/api/teach/answer")
    def answer(body: AnswerBody) -> dict[str, Any]:
        return desk.teacher.answer(body.pair, body.answer)

    @app.post("/api/teach/undo")
    def forget() -> dict[str, Any]:
        return desk.teacher.undo()


def _add_live(app: FastAPI, sessions: Sessions) -> None:
    """Live sessions and their films."""
    filming = threading.Lock()

    @app.websocket("/api/live")
    async def live(socket: WebSocket) -> None:
        await sessions.serve(socket)

    @app.get("/api/film", response_class=Response, responses={200: {"content": {"video/mp4": {}}}})
    def film(session: Annotated[str, Query(max_length=40)], agent: _Number = 0) -> Response:
        if not filming.acquire(blocking=False):
            raise RunError("One film must be made at a time; another is being made. Wait until it is done.")
        try:
            content = sessions.film(session, agent)
        finally:
            filming.release()
        told = {"content-disposition": 'attachment; filename="agent.mp4"'}
        return Response(content, media_type="video/mp4", headers=told)


def _below(folder: Path, path: str) -> Response:
    """A file below a folder, wherever links lead; 404 for everything else."""
    try:
        found = (folder / (path or "index.html")).resolve()
        if found.is_relative_to(folder.resolve()) and found.is_file():
            return FileResponse(found)
    except (OSError, ValueError):  # a name that is too long, or has a zero in it
        pass
    return JSONResponse({"error": "The run's report must hold this file; it does not. Open /report/."}, status_code=404)


async def _unbraid_error(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=507 if isinstance(error, StorageError) else 400)


async def _no_such_request(request: Request, error: Exception) -> JSONResponse:
    """What is not served, in the words of all refusals."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    path, allowed = request.url.path[:80], (headers or {}).get("Allow", "another method")
    said = {
        404: f"The address must be one that the studio has; {path} is none. /openapi.json names them.",
        405: f"{path} must be asked for with {allowed}; got {request.method}. /openapi.json names the methods.",
    }.get(status, f"A request must be one that can be read; {getattr(error, 'detail', '')}. Send another.")
    return JSONResponse({"error": said}, status_code=status, headers=headers)


async def _wrong_request(request: Request, error: Exception) -> JSONResponse:
    kind = request.headers.get("content-type", "")
    if request.method == "POST" and "json" not in kind and await request.body():
        said = f"got {kind[:80]!r}" if kind else "it has none"
        told = f"A body must be JSON and say so with the header Content-Type: application/json; {said}. Add it."
        return JSONResponse({"error": told}, status_code=415)
    said = said_of([dict(one) for one in error.errors()]) if isinstance(error, RequestValidationError) else ""
    return JSONResponse({"error": f"A request must be as /openapi.json says; {said}. Correct it."}, status_code=422)


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a port that is taken is said before anything is worked out.

    Raises:
        ConfigError: the address or port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except (OSError, OverflowError) as error:
        made.close()
        said = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{host}:{port} must be free to listen on; the system said: {said}. Give --port 0.") from None
    return made


def serve(
    desk: Desk,
    *,
    host: str = "127.0.0.1",
    port: int = 8377,
    token: str | None = None,
    open_browser: bool = True,
    said: Callable[[str], None] = print,
) -> None:
    """Serves until it is interrupted.

    Args:
        desk: the run.
        host: what to bind to; where that is not this machine alone, a token is made unless one is given.
        port: 0 takes a free one.
        token: what every request must bring; None for none, on this machine alone.
        open_browser: show the page.
        said: gets the address of the page, once it can be opened.

    Raises:
        ConfigError: the address or port cannot be had, or the token is too easily guessed.
    """
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(18)
    app = create_app(desk, host=host, token=token)
    listening = bound_socket(host, port)
    name = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}/" + (
        "" if token is None else f"?token={quote(token, safe='')}"
    )
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=_LARGEST_MESSAGE,
        ws_per_message_deflate=False,  # squeezing a picture takes longer than sending it
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    said(address)
    if open_browser:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    try:
        asyncio.run(server.serve(sockets=[listening]))
    finally:
        listening.close()
