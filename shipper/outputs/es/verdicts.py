"""What the answer to a bulk request means for each of its documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ...errors import Counts

_NO_ERRORS = re.compile(rb'"errors"\s*:\s*false')
_HEAD = 200
_BLOCKED = ("cluster_block_exception", "es_rejected_execution_exception", "circuit_breaking_exception")


class _Item(msgspec.Struct):
    status: int = 0
    error: Any = None


class _Answer(msgspec.Struct):
    items: list[dict[str, _Item]]


_decode = msgspec.json.Decoder(_Answer).decode


class Reason(msgspec.Struct, frozen=True):
    """Why a document is refused: in a word, as a status, and in the words of the server."""

    word: str
    status: str = ""
    said: str = ""


class Items(msgspec.Struct):
    """The documents of a request by what became of them; `refused` are reasons by place, `said` the first words.

    `already` of the accepted ones were there before. `counts` says whether those to be sent again count as a retry.
    """

    accepted: int = 0
    already: int = 0
    again: list[int] = []
    refused: Mapping[int, Reason] = {}
    said: str = ""
    counts: Counts = Counts.ALWAYS


def items_of(body: bytes, count: int) -> Items | None:
    """What an answer says about so many documents; None if it cannot be understood."""
    if _NO_ERRORS.search(body, 0, _HEAD):
        return Items(accepted=count)
    try:
        told = [next(iter(item.items())) for item in _decode(body).items]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, StopIteration):
        return None
    if len(told) != count:
        return None
    # If nothing at all is allowed, the credentials are to blame, and they can be mended.
    is_denied = all(item.status in (401, 403) for _, item in told)
    found, again, refused = Items(), list[int](), dict[int, Reason]()
    is_slow = True
    for place, (verb, item) in enumerate(told):
        # To create what is there already is a conflict: an earlier request arrived after all, or a record like it.
        is_there = item.status == 409 and verb == "create"
        if 200 <= item.status < 300 or is_there:
            found.accepted += 1
            found.already += is_there
            continue
        words, kind = _words(item.error), _kind(item.error)
        found.said = found.said or words
        if item.status in (409, 429) or item.status >= 500 or is_denied or kind in _BLOCKED:
            again.append(place)
            is_slow = is_slow and (item.status == 429 or kind in _BLOCKED)
        else:
            refused[place] = Reason(kind or f"status_{item.status}", str(item.status), words)
    found.again, found.refused = again, refused
    if is_denied:
        found.counts = Counts.NEVER
    elif is_slow:
        found.counts = Counts.WITHOUT_PROGRESS
    return found


def _kind(error: Any) -> str:
    """The name of an error, as far as it can be the label of a counter."""
    kind = error.get("type") if isinstance(error, dict) else None
    return kind[:60] if isinstance(kind, str) and kind.isidentifier() else ""


def _words(error: Any) -> str:
    told = error.get("reason", error) if isinstance(error, dict) else error or "no reason given"
    return " ".join(str(told)[:300].split())
