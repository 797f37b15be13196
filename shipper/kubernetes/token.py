"""The bearer token: read again when its file changes, when it is old, and when it was refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from ..clock import Clock
from ..log import Log

_COMMAND_TIMEOUT_S = 10.0
_LONGEST = 1 << 20


class NoToken(Exception):
    """The token cannot be had."""


class Token:
    """The token of a file, or of a command.

    `_text` is the token as read at `_read_at`, from the file as `_seen` describes it.
    """

    def __init__(self, file: str, command: str | None, ttl: float, clock: Clock, log: Log) -> None:
        self._file = file
        self._command = command
        self._ttl = ttl
        self._clock = clock
        self._log = log
        self._text: str | None = None
        self._read_at = 0.0
        self._seen: tuple[int, int, int] | None = None
        self._reading = asyncio.Lock()

    async def text(self) -> str:
        """The token to use now; waits for the command, within its deadline. Raises `NoToken`."""
        async with self._reading:
            seen = self._look()
            is_old = self._clock.monotonic() - self._read_at > self._ttl
            if self._text is None or is_old or seen != self._seen:
                await self._read(seen)
            if self._text is None:
                raise NoToken("the token is empty")
            return self._text

    def doubt(self, refused: str) -> None:
        """Read it again before the next use, unless that has happened since this one was refused."""
        if self._text == refused:
            self._seen, self._text = None, None

    async def _read(self, seen: tuple[int, int, int] | None) -> None:
        before = self._text
        text = (self._of_file() if self._command is None else await self._of_command(self._command)).strip()
        if not text or not text.isprintable():
            raise NoToken("what was read is not a token")
        self._text, self._seen, self._read_at = text, seen, self._clock.monotonic()
        if text != before:
            self._log.info("token updated")

    def _of_file(self) -> str:
        try:
            with Path(self._file).open("rb") as file:
                return file.read(_LONGEST).decode("utf-8", "replace")
        except OSError as error:
            raise NoToken(f"cannot read {self._file}: {error.strerror}") from error

    async def _of_command(self, command: str) -> str:
        process = await asyncio.create_subprocess_shell(
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_COMMAND_TIMEOUT_S):
                printed = await _up_to(process.stdout, _LONGEST + 1)
                if len(printed) <= _LONGEST:
                    await process.wait()
        except TimeoutError as error:
            raise NoToken(f"the token command did not end within {_COMMAND_TIMEOUT_S:g} seconds") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # the shell and what it has started
                await process.communicate()
        if len(printed) > _LONGEST:
            raise NoToken(f"the token command printed more than {_LONGEST} bytes")
        if process.returncode != 0:
            raise NoToken(f"the token command ended with status {process.returncode}")
        return printed.decode("utf-8", "replace")

    def _look(self) -> tuple[int, int, int] | None:
        if self._command is not None:
            return None
        try:
            found = os.stat(self._file)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


async def _up_to(stream: asyncio.StreamReader | None, size: int) -> bytes:
    """So many bytes, or all that come until the end."""
    if stream is None:
        return b""
    try:
        return await stream.readexactly(size)
    except asyncio.IncompleteReadError as error:
        return error.partial
