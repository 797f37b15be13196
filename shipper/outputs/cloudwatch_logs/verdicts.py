"""What an error of the service means for the request that got it."""

from __future__ import annotations

import re
from enum import Enum, auto

from ...aws.settings import AwsError, is_denied
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
_LIMIT = re.compile(r"(?:limit|maximum|exceeds?)[^0-9]{0,40}([0-9]{4,})", re.IGNORECASE)
_THROTTLED = re.compile("Throttl|TooManyRequests|LimitExceeded")
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


def is_throttled(error: AwsError) -> bool:
    """Whether the service only asks for a slower pace."""
    return error.status == 429 or bool(_THROTTLED.search(error.code))


def event_limit_in(message: str) -> int:
    """The most an event may weigh according to an error, its 26 bytes included."""
    found = _LIMIT.findall(message)
    return int(found[-1]) if found else OLD_EVENT_LIMIT
