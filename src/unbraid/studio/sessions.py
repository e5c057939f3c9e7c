"""Live sessions: one clock steps the agents of all that play, and a client that is slow gets fewer pictures."""

import asyncio
import json
import secrets
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, final

import torch
from starlette.websockets import WebSocket, WebSocketDisconnect

from unbraid.core.errors import RunError, UnbraidError, WorldError
from unbraid.studio.asking import Asked
from unbraid.studio.desk import Desk
from unbraid.studio.live import LiveRollout, step_together
from unbraid.studio.messages import Pause, Play, Reset, Sample, Start, Steer, Step, read_message

__all__ = ["PICTURES_PER_S", "Sessions"]

PICTURES_PER_S = 30
_MOST_REPLIES = 64  # that wait for a client; one that leaves more unread is gone
_MOST_MISTAKES = 50
_THREADS = 1  # Python runs one at a time anyway; a second costs more in waiting than it gains
_TRY_LATER, _POLICY, _DONE, _FAILED = 1013, 1008, 1000, 1011
_PARTING_S = 5.0  # for a client to take the last words


@final
class Sessions:
    """All live sessions of a studio."""

    def __init__(self, desk: Desk, *, most: int = 32, idle_s: float = 600.0) -> None:
        """Prepares for sessions.

        Args:
            desk: the run.
            most: how many may be live at once; a further one is turned away.
            idle_s: a session that hears nothing for so long ends.
        """
        self._desk, self._most, self._idle_s = desk, most, idle_s
        self._live: dict[str, _Session] = {}
        self._clock: asyncio.Task[None] | None = None  # goes while there is a session
        self._going = asyncio.Event()
        # Threads of their own, so that a page that is worked out never keeps a picture waiting.
        self._threads = ThreadPoolExecutor(_THREADS, "unbraid-live", initializer=torch.set_num_threads, initargs=(1,))

    @property
    def n_live(self) -> int:
        """How many sessions are live."""
        return len(self._live)

    async def serve(self, socket: WebSocket) -> None:
        """One client, from its greeting to its end."""
        await socket.accept()
        if len(self._live) >= self._most:
            await socket.close(_TRY_LATER, f"There are {self._most} live sessions, the most there may be. Close one.")
            return
        name = secrets.token_urlsafe(12)
        session = self._live[name] = _Session(name, self._desk, self._in_thread, self._going.set)
        if self._clock is None:
            self._clock = asyncio.create_task(self._beat())
        try:
            await session.run(socket, self._idle_s)
        finally:
            del self._live[name]
            if not self._live:
                self._clock.cancel()
                self._clock = None
            await session.close()

    def film(self, name: str, agent: int) -> bytes:
        """What an agent of a session did since its reset, as an MP4.

        Raises:
            RunError: no such session, or it did not begin.
            ConfigError: no such agent, it made no step, or what makes films is not installed.
            WorldError: the world gives no pictures.
        """
        from unbraid.report.video import video

        session = self._live.get(name)
        if session is None:
            raise RunError("The live session must still go on; it does not. Press play, and record again.")
        env_id, episode = session.recorded(agent)
        return video(env_id, episode)

    def close(self) -> None:
        """Releases the threads; sessions have ended by then."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _beat(self) -> None:
        """Makes the pictures of all that play, at an even pace; late ones are not made up for."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            playing = [session for session in self._live.values() if session.is_playing]
            if not playing:
                self._going.clear()
                await self._going.wait()
                due = loop.time()
                continue
            failed = await self._in_thread(_advance, playing)
            for session, error in zip(playing, failed, strict=True):
                session.show(error)
            due = max(due + 1 / PICTURES_PER_S, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _in_thread(self, work: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)


class _Session:
    """One client's agents. The rollout is touched under its lock, by the live thread or by who films it."""

    def __init__(self, name: str, desk: Desk, in_thread: Callable[..., Any], on_playing: Callable[[], None]) -> None:
        self._name, self._desk, self._in_thread, self._on_playing = name, desk, in_thread, on_playing
        self._rollout: LiveRollout | None = None
        self.lock = threading.Lock()
        self.steps_per_picture = 0  # 0: it stands still
        self._replies: deque[str] = deque()
        self._picture: str | None = None  # the newest alone; an older one that was not sent is dropped
        self._news = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_playing(self) -> bool:
        return self.steps_per_picture > 0

    async def run(self, socket: WebSocket, idle_s: float) -> None:
        self._reply({"session": self._name})
        self._news.set()
        tasks = [asyncio.create_task(self._send(socket)), asyncio.create_task(self._read(socket, idle_s)), self._failed]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)  # not gather, whose own cancellation would look like a task's
        *errors, failed = [None if task.cancelled() else task.exception() for task in tasks]
        if failed is not None:
            await self._part(socket, failed)
            if not isinstance(failed, UnbraidError):
                traceback.print_exception(failed)  # our own fault, which the terminal is to show
            return
        for error in errors:
            if error is not None and not isinstance(error, WebSocketDisconnect | RuntimeError | OSError):
                raise error

    async def _part(self, socket: WebSocket, error: BaseException) -> None:
        """Says what ended the session, and closes it."""
        said = f"{type(error).__name__}: {error!s:.200}"
        told = str(error) if isinstance(error, UnbraidError) else f"A live session must go on; it ended with {said}."
        self._reply({"error": told})
        with suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
            async with asyncio.timeout(_PARTING_S):
                while self._replies:
                    await socket.send_text(self._replies.popleft())
                await socket.close(_FAILED, "The session could not go on. Press play to begin anew.")

    async def close(self) -> None:
        if self._rollout is not None:
            await asyncio.shield(self._in_thread(self._release))

    def show(self, error: Exception | None) -> None:
        """Sends the picture that was made; or ends the session by what kept it from being made."""
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)
        self._news.set()

    def recorded(self, agent: int) -> tuple[str, Any]:
        with self.lock:
            if self._rollout is None:
                raise RunError("A film needs an agent; the session has none yet. Start one.")
            return self._rollout.env_id, self._rollout.episode(agent)

    # The two tasks

    async def _read(self, socket: WebSocket, idle_s: float) -> None:
        """Hears the client, until it leaves, is idle for too long, or makes no sense."""
        n_mistakes = 0
        while True:
            try:
                text = await asyncio.wait_for(socket.receive_text(), idle_s)
            except TimeoutError:
                await socket.close(_DONE, f"Nothing was asked for {idle_s:g} s. Press play to go on.")
                return
            except KeyError:  # a message of bytes
                text = ""
            try:
                await self._in_thread(self._heed, text)
            except Exception as error:
                if isinstance(error, WorldError) or not isinstance(error, UnbraidError):
                    self.show(error)
                    return
                self._reply({"error": str(error)})
                n_mistakes += 1
            if n_mistakes > _MOST_MISTAKES or len(self._replies) > _MOST_REPLIES:
                await socket.close(_POLICY, "Too many messages that were wrong, or answers that were not read.")
                return
            if self.is_playing:
                self._on_playing()
            self._news.set()

    async def _send(self, socket: WebSocket) -> None:
        """Sends replies in order, and the newest picture."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._replies:
                await socket.send_text(self._replies.popleft())
            picture, self._picture = self._picture, None
            if picture is not None:
                await socket.send_text(picture)

    # In the live thread

    def _heed(self, text: str) -> None:
        message = read_message(text)
        with self.lock:
            if isinstance(message, Start):
                self._start(message)
                return
            if self._rollout is None:
                raise RunError("A session must be started first; this one was not. Send `start`.")
            match message:
                case Play():
                    self.steps_per_picture = 0 if self._rollout.is_over else message.steps_per_picture
                case Pause():
                    self.steps_per_picture = 0
                case Step():
                    self.steps_per_picture = 0
                    self._rollout.step()
                case Reset():
                    self._rollout.reset(message.seed)
                    self._reply(self._told())
                case Steer():
                    self._rollout.call(self._desk.edits.edits.shown)
                    asked = self._rollout.ask(message.agent, message.sliders, message.style)
                    self._reply(_said(message.agent, asked))
                case Sample():
                    self._rollout.sampled = message.sampled
            self.draw()

    def _start(self, message: Start) -> None:
        rollout = self._desk.live(message.env, n_agents=message.agents, seed=message.seed)
        if self._rollout is not None:
            self._rollout.close()
        self._rollout, self.steps_per_picture = rollout, 0
        self._reply(self._told())
        for index, agent in enumerate(rollout.agents):
            self._reply(_said(index, agent.asked))
        self.draw()

    @property
    def rollout(self) -> LiveRollout:
        assert self._rollout is not None, "nobody plays before they started"
        return self._rollout

    def draw(self) -> None:
        """Makes the picture of what is now; under the lock."""
        rollout = self.rollout
        if rollout.is_over:
            self.steps_per_picture = 0
        picture = {"agents": rollout.frame(), "playing": self.is_playing}
        self._picture = json.dumps(picture, allow_nan=False, separators=(",", ":"))

    def _told(self) -> dict[str, Any]:
        rollout = self.rollout
        told = {"env": rollout.env_id, "seed": rollout.seed, "n_agents": len(rollout.agents)}
        return {"started": {**told, "layout": rollout.layout(), "steps_per_s": rollout.steps_per_s}}

    def _reply(self, reply: dict[str, Any]) -> None:
        self._replies.append(json.dumps(reply, allow_nan=False))

    def _release(self) -> None:
        with self.lock:
            self.steps_per_picture = 0
            if self._rollout is not None:
                self._rollout.close()


def _advance(sessions: Sequence[_Session]) -> list[Exception | None]:
    """The steps of one picture for every session, and the picture; for each what went wrong, which stops it."""
    failed: list[Exception | None] = [None] * len(sessions)
    with ExitStack() as locks:
        for session in sessions:
            locks.enter_context(session.lock)
        for taken in range(max(session.steps_per_picture for session in sessions)):
            due = [i for i, s in enumerate(sessions) if taken < s.steps_per_picture and failed[i] is None]
            for i, error in zip(due, step_together([sessions[i].rollout for i in due]), strict=True):
                failed[i] = error
        for i, session in enumerate(sessions):
            try:
                session.draw()
            except Exception as error:  # a world of anybody's may show anything
                failed[i] = failed[i] or error
            if failed[i] is not None:
                session.steps_per_picture = 0
    return failed


def _said(agent: int, asked: Asked) -> dict[str, Any]:
    return {"asked": {"agent": agent, **asked.to_json()}}
