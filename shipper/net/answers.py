"""Reads the answer to an HTTP/1.1 request from bytes as they come, however they are cut."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .settings import HttpAnswer

_HEAD_LIMIT = 65_536
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: [^\r\n]*)?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_CHUNK_LINE_LIMIT = 4096
_NO_BODY = (204, 304)


class BadAnswer(Exception):
    """What came is not HTTP/1.1, or too long to be."""


class AnswerReader:
    """Reads one answer. `answer` is there when it is complete; `may_be_kept` says whether the connection still serves.

    Of the body the first `limit` bytes are kept; a connection on which more is to come is not worth keeping.
    """

    def __init__(self, limit: int, *, is_head: bool = False, is_connect: bool = False) -> None:
        self._limit = limit
        self._has_no_body = is_head
        self._is_connect = is_connect
        self._buffer = bytearray()
        self._body = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        # Bytes of the body, or of the chunk, that are to come; None while it ends with the connection.
        self._left: int | None = 0
        # A function and no bound method, which would keep the answer in memory until the garbage collector comes.
        self._state = AnswerReader._read_head
        self.answer: HttpAnswer | None = None
        self.may_be_kept = True
        self.has_begun = False

    def feed(self, data: bytes) -> None:
        """Take more bytes; raises `BadAnswer`. Bytes behind a complete answer forbid keeping the connection."""
        self.has_begun = self.has_begun or bool(data)
        self._buffer += data
        while self.answer is None and self._state(self):
            pass
        if self.answer is not None and self._buffer:
            self.may_be_kept = False

    @property
    def status(self) -> int:
        """The status of the answer; 0 until its head has come."""
        return 0 if self._state is AnswerReader._read_head and self.answer is None else self._status

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of the answer, by name in lower case; none until its head has come."""
        return self._headers

    @property
    def body_size(self) -> int:
        """Bytes of the body that are here."""
        return len(self._body)

    def take_body(self) -> bytes:
        """What has come of the body since the last call; it no longer counts against the limit."""
        taken = bytes(self._body)
        self._body.clear()
        return taken

    def end(self) -> None:
        """The connection has ended; completes an answer that ends with it."""
        self.may_be_kept = False
        if self.answer is None and self._state is AnswerReader._read_body and self._left is None:
            self._finish()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _HEAD_LIMIT:
                raise BadAnswer(f"the head of the answer is longer than {_HEAD_LIMIT} bytes")
            return False
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        found = _STATUS_LINE.fullmatch(lines[0])
        if found is None:
            raise BadAnswer("the answer is not HTTP/1.1")
        self._status = int(found[2])
        self._headers = _headers(lines[1:])
        if 100 <= self._status < 200 and self._status != 101:
            return True  # an interim answer; the real one follows
        connection = self._headers.get("connection", "").lower()
        if "close" in connection or (found[1] == b"0" and "keep-alive" not in connection):
            self.may_be_kept = False
        self._begin_body()
        return True

    def _begin_body(self) -> None:
        if self._has_no_body or self._status in _NO_BODY or (self._is_connect and 200 <= self._status < 300):
            self._finish()
        elif "chunked" in self._headers.get("transfer-encoding", "").lower():
            self._state = AnswerReader._read_chunk_size
        elif (length := self._headers.get("content-length")) is not None:
            if not length.isdecimal() or len(length) > 15:
                raise BadAnswer(f"the answer has the length {length[:40]!r}")
            self._left, self._state = int(length), AnswerReader._read_body
            if self._left == 0:
                self._finish()
        else:
            self._left, self._state, self.may_be_kept = None, AnswerReader._read_body, False

    def _read_body(self) -> bool:
        self._take()
        if self._left == 0:
            self._finish()
        return False

    def _read_chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if (found := _CHUNK_SIZE.fullmatch(line)) is None:
            raise BadAnswer("the size of a chunk cannot be read")
        self._left = int(found[1], 16)
        self._state = AnswerReader._read_chunk if self._left else AnswerReader._read_trailer
        return True

    def _read_chunk(self) -> bool:
        self._take()
        if self.answer is not None or self._left or len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise BadAnswer("a chunk does not end where it should")
        del self._buffer[:2]
        self._state = AnswerReader._read_chunk_size
        return True

    def _read_trailer(self) -> bool:
        line = self._line()
        if line == b"":
            self._finish()
        return line is not None

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > _CHUNK_LINE_LIMIT:
                raise BadAnswer("a line of the answer is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _take(self) -> None:
        """Move what has come of the body, or of the chunk, into the body; ends the answer at the limit."""
        taken = len(self._buffer) if self._left is None else min(self._left, len(self._buffer))
        room = self._limit - len(self._body)
        self._body += self._buffer[: min(taken, room)]
        del self._buffer[:taken]
        if self._left is not None:
            self._left -= taken
        if taken > room:
            self.may_be_kept = False
            self._finish()

    def _finish(self) -> None:
        self.answer = HttpAnswer(self._status, self._headers, bytes(self._body))


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():
            raise BadAnswer("a header of the answer cannot be read")
        key, text = name.lower(), value.strip()
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
