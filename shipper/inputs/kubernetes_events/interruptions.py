"""Why listing or watching has ended, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ...net.retry_after import retry_after_s

_GONE = 410
_TOO_MANY_REQUESTS = 429
_LONGEST_SHOWN = 300


class Interrupted(Exception):
    """Listing or watching has ended before its time; `after` is the wish of the server in seconds.

    With `keeps_place` a watch may go on from where it was, else there is a list first.
    """

    def __init__(self, reason: str, after: float | None = None, *, keeps_place: bool = False) -> None:
        super().__init__(reason)
        self.after = after
        self.keeps_place = keeps_place


class ListAgain(Exception):
    """The watch cannot go on from where it was, which is nothing unusual."""


class _Details(msgspec.Struct):
    retry_after_s: float | None = msgspec.field(default=None, name="retryAfterSeconds")


class _Status(msgspec.Struct):
    """What an API server says instead of an event or a list."""

    code: int | None = None
    details: _Details | None = None


def refusal(status: int, headers: Mapping[str, str], body: bytes, now_s: float) -> Interrupted | ListAgain:
    """What to raise for an answer with this status."""
    if status == _GONE:
        return ListAgain("the API server has forgotten where we were")
    remedy = "; get, list and watch of events must be allowed" if status in (401, 403) else ""
    after = retry_after_s(headers.get("retry-after"), now_s)
    return Interrupted(
        f"the API server answers with status {status}{remedy}: {_shown(body)}",
        _wish_in(_status_in(body)) if after is None else after,
        keeps_place=status == _TOO_MANY_REQUESTS,
    )


def error_in_watch(document: bytes) -> Interrupted | ListAgain:
    """What to raise for the object of an ERROR in a watch; only one that says 410 is nothing unusual."""
    status = _status_in(document)
    if status.code == _GONE:
        return ListAgain("the API server has forgotten where we were")
    return Interrupted(
        f"the watch has ended with an error: {_shown(document)}",
        _wish_in(status),
        keeps_place=status.code == _TOO_MANY_REQUESTS,
    )


def _status_in(document: bytes) -> _Status:
    try:
        return msgspec.json.decode(document, type=_Status)
    except (ValueError, RecursionError):
        return _Status()


def _wish_in(status: _Status) -> float | None:
    return status.details.retry_after_s if status.details is not None else None


def _shown(text: bytes) -> str:
    return text[:_LONGEST_SHOWN].decode("utf-8", "replace")
