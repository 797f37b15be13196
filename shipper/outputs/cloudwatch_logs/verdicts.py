"""What an error of the service means for the request that got it."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Any

import msgspec

from ...aws.settings import Answer, AwsError, is_denied
from .requests import OLD_EVENT_LIMIT


class Verdict(Enum):
    """What to do with a request that was answered with an error."""

    LATER = auto()
    """Send it again after a while; nothing else is to be done."""

    NO_STREAM = auto()
    """Create the group or the stream, then send it again."""

    NEW_TOKEN = auto()
    """Send it again with the sequence token of the answer."""

    ALREADY_ACCEPTED = auto()
    """It had arrived before."""

    EVENT_TOO_LARGE = auto()
    """Shorten the events to the limit of the answer, then send them."""

    TOO_LARGE = auto()
    """Send it in two parts."""

    REFUSED = auto()
    """Some event in it will never be taken; find it by sending halves."""

    DENIED = auto()
    """The credentials are wrong or not enough; hold everything until they are mended."""


_BY_CODE = {
    "ResourceNotFoundException": Verdict.NO_STREAM,
    "InvalidSequenceTokenException": Verdict.NEW_TOKEN,
    "DataAlreadyAcceptedException": Verdict.ALREADY_ACCEPTED,
}
_REFUSALS = ("InvalidParameterException", "SerializationException", "ValidationException", "MalformedQueryString")
_EVENT_TOO_LARGE = re.compile(r"\bevent\b[^.]*\b(?:too large|exceed)", re.IGNORECASE)
_LIMIT = re.compile(r"(?:limit|maximum|exceeds?)[^0-9]{0,40}([0-9]{4,18})", re.IGNORECASE)
_TOKEN = re.compile(r"sequenceToken(?: is)?: ?([^\s,;]+)")
_NAMES = re.compile(r"log(?:Group|Stream)Name", re.IGNORECASE)


def verdict_on(error: AwsError) -> Verdict:
    """What to do with the PutLogEvents request that got this error."""
    if found := _BY_CODE.get(error.code):
        return found
    if error.status in (413, 414):
        return Verdict.TOO_LARGE
    if error.code in _REFUSALS:
        if _EVENT_TOO_LARGE.search(error.message):
            return Verdict.EVENT_TOO_LARGE
        # A name that is refused would be refused for every event: that is no matter of single events.
        return Verdict.LATER if _NAMES.search(error.message) else Verdict.REFUSED
    return Verdict.DENIED if is_denied(error) else Verdict.LATER


def event_limit_in(message: str) -> int:
    """The most an event may weigh according to an error, its 26 bytes included."""
    found = _LIMIT.findall(message)
    return int(found[-1]) if found else OLD_EVENT_LIMIT


def next_token(error: AwsError) -> str | None:
    """The sequence token that the next request must bear, from the field for it or from the words; None for none."""
    if isinstance(told := error.fields.get("expectedSequenceToken"), str):
        return told or None
    found = _TOKEN.findall(error.message)
    token = found[-1].rstrip(".") if found else ""
    return None if token in ("", "null", "None") else token


class Rejected(msgspec.Struct, frozen=True):
    """Where among its events an accepted request has rejected ones; None where an answer tells nothing that counts.

    The head up to the exclusive ends is expired or too old, the tail from the start on is too new.
    """

    expired_end: int | None
    too_old_end: int | None
    too_new_start: int | None


def rejected_in(answer: Answer) -> Rejected | None:
    """What an answer says of rejected events; None if nothing."""
    info = answer.body.get("rejectedLogEventsInfo")
    if not isinstance(info, dict):
        return None
    names = ("expiredLogEventEndIndex", "tooOldLogEventEndIndex", "tooNewLogEventStartIndex")
    return Rejected(*[_index(info.get(name)) for name in names])


def _index(told: Any) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else None
