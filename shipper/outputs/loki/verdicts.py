"""What an answer of Loki means for the request that got it, read from its status and its words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from ...net.settings import HttpAnswer


class Kind(Enum):
    """What became of the entries of a request, and what is to be done."""

    ACCEPTED = auto()
    """All are stored."""

    SOME_REFUSED = auto()
    """Some will never be taken, because of their times; the others are stored."""

    LINES_TOO_LONG = auto()
    """Lines above the limit were refused, the others are stored; cut them."""

    BAD_STREAM = auto()
    """One stream was refused because of its labels, the others are stored."""

    BAD_METADATA = auto()
    """Entries whose structured metadata are too large were refused, the others are stored."""

    NO_METADATA = auto()
    """Entries with structured metadata were refused, the others are stored."""

    STREAM_RATE = auto()
    """The named streams are too fast, the others are stored; send those again after a while."""

    TOO_MANY_STREAMS = auto()
    """The named stream would be one too many, the others are stored."""

    TENANT_RATE = auto()
    """The tenant is too fast and nothing is stored; send it again, in smaller parts and more slowly."""

    TOO_LARGE = auto()
    """Nothing is stored; send it in two parts."""

    UNREADABLE = auto()
    """Refused for a reason we do not know; find what is to blame by sending halves."""

    BLOCKED = auto()
    """Somebody has switched the tenant off for a while."""

    DENIED = auto()
    """Address, tenant or credentials are wrong; hold everything until they are mended."""

    LATER = auto()
    """The server is in trouble; send it again after a while."""


Selector = Mapping[str, str]


class Verdict(msgspec.Struct, frozen=True):
    """What an answer means; `reason` names it in counters, `streams` are those it names.

    `limit` is what the server allows, `refused` how many entries it says it refused, `oldest_ns` the time before which
    it refuses, and `times_ns` are those of refused entries that it names.
    """

    kind: Kind
    reason: str
    streams: tuple[Selector, ...] = ()
    limit: int | None = None
    refused: int | None = None
    oldest_ns: int | None = None
    times_ns: frozenset[int] = frozenset()


_PAIR = r'[A-Za-z_][A-Za-z0-9_]*="(?:[^"\\]|\\.)*"'
_LABELS = rf"\{{(?:{_PAIR}(?:, ?)?)*\}}"
_SELECTOR = re.compile(_LABELS, re.DOTALL)
_PAIRS = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"', re.DOTALL)
# What an answer quotes of the records: labels, complete or cut off, and the end of sentences that quote a name or a
# value as it is, in which anything may stand.
_QUOTED = re.compile(
    rf"(?P<labels>{_LABELS})"
    r"""|\{[A-Za-z_][A-Za-z0-9_]*=".*"""
    r"""|(?P<words>label name too long:|label value too long:|duplicate label name:).*"""
    rf"""|(?P<unread>error parsing labels)(?: '(?P<blamed>{_LABELS}))?.*""",
    re.IGNORECASE | re.DOTALL,
)
_IGNORED = re.compile(r"total ignored: (\d{1,18}) out of")
_ALIKE = re.compile(r"(\d{1,18}) errors? like: ")
_RATE_LIMIT = re.compile(r"limit: (\d{1,18}) bytes", re.IGNORECASE)
_LIMITS = {
    "line_too_long": re.compile(r"max entry size '?(\d{1,18})'?", re.IGNORECASE),
    "too_many_labels": re.compile(r"label names; limit (\d{1,18})", re.IGNORECASE),
    "metadata_too_large": re.compile(r"bytes, limit: '?(\d{1,18})'? bytes", re.IGNORECASE),
    "too_many_metadata": re.compile(r", limit: '?(\d{1,18})'?", re.IGNORECASE),
}
"""Where the limit stands that was broken; of labels that are too long no number is told."""

_OLDEST = re.compile(r"oldest acceptable timestamp is: (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)")
_ENTRY_TIME = re.compile(r"entry with timestamp (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,9}))? \+0000 UTC")
_TOO_LARGE = re.compile(
    r"received message larger than max|request (?:body )?too large|message too large", re.IGNORECASE
)

# Words of a 400, in the order in which they are looked for, and what they mean.
_REFUSALS: tuple[tuple[str, Kind, str], ...] = (
    ("max entry size", Kind.LINES_TOO_LONG, "line_too_long"),
    ("structured metadata, but this feature is disallowed", Kind.NO_METADATA, "metadata_disallowed"),
    ("structured metadata too large", Kind.BAD_METADATA, "metadata_too_large"),
    ("too many structured metadata", Kind.BAD_METADATA, "too_many_metadata"),
    ("label names; limit", Kind.BAD_STREAM, "too_many_labels"),
    ("label name too long", Kind.BAD_STREAM, "label_name_too_long"),
    ("label value too long", Kind.BAD_STREAM, "label_value_too_long"),
    ("duplicate label name", Kind.BAD_STREAM, "duplicate_label"),
    ("missing required labels", Kind.BAD_STREAM, "missing_required_labels"),
    ("at least one label pair", Kind.BAD_STREAM, "no_labels"),
    ("error parsing labels", Kind.BAD_STREAM, "bad_labels"),
    ("too far behind", Kind.SOME_REFUSED, "too_far_behind"),
    ("timestamp too old", Kind.SOME_REFUSED, "too_old"),
    ("timestamp too new", Kind.SOME_REFUSED, "too_new"),
    ("out of order", Kind.SOME_REFUSED, "out_of_order"),
    ("total ignored:", Kind.SOME_REFUSED, "refused_by_destination"),
)
_BLOCKED_STATUS = 260


class Told(NamedTuple):
    """What a server says: its own words without what it quotes of the records, and the streams that it names."""

    words: str
    streams: tuple[Selector, ...]


def told_in(text: str) -> Told:
    """The words and the streams of a text; whoever writes labels cannot put words into the server's mouth."""
    streams: list[Selector] = []

    def without(found: re.Match[str]) -> str:
        if labels := found["labels"] or found["blamed"]:
            streams.extend(selectors_in(labels))
        return found["words"] or found["unread"] or ""

    words = _QUOTED.sub(without, text)
    return Told(words, tuple(labels for n, labels in enumerate(streams) if labels not in streams[:n]))


def verdict_on(answer: HttpAnswer) -> Verdict:
    """What this answer means."""
    status, text, told = answer.status, answer.text, told_in(answer.text)
    if status == _BLOCKED_STATUS:
        return Verdict(Kind.BLOCKED, "ingestion_blocked")
    if 200 <= status < 300:
        return Verdict(Kind.ACCEPTED, "")
    if status == 413 or (status >= 400 and _TOO_LARGE.search(told.words)):
        return Verdict(Kind.TOO_LARGE, "too_large")
    if status == 429:
        return _limited(told)
    if status in (400, 422):
        # A page in HTML is no word of Loki's: something between us and it does not know what to do with the request.
        is_page = "html" in answer.headers.get("content-type", "") or text.lstrip()[:1] == "<"
        return Verdict(Kind.DENIED, "not_loki") if is_page else _refused(told)
    if 300 <= status < 500 and status != 408:
        return Verdict(Kind.DENIED, f"status_{status}")
    return Verdict(Kind.LATER, f"status_{status}")


def selectors_in(text: str) -> tuple[Selector, ...]:
    """The labels of the streams that a text names, each once."""
    found = [dict(_PAIRS.findall(selector)) for selector in _SELECTOR.findall(text)]
    named = [{name: _unquoted(value) for name, value in labels.items()} for labels in found if labels]
    return tuple(labels for n, labels in enumerate(named) if labels not in named[:n])


def _limited(told: Told) -> Verdict:
    words = told.words.lower()
    if "per stream rate limit" in words:
        return Verdict(Kind.STREAM_RATE, "stream_rate", told.streams)
    if "active stream limit" in words or "stream limit exceeded" in words:
        return Verdict(Kind.TOO_MANY_STREAMS, "stream_limit", told.streams)
    found = _RATE_LIMIT.search(words)
    return Verdict(Kind.TENANT_RATE, "rate", limit=int(found[1]) if found else None)


def _refused(told: Told) -> Verdict:
    words = told.words.lower()
    for sign, kind, reason in _REFUSALS:
        if sign in words:
            ignored = [int(n) for n in _IGNORED.findall(words) or _ALIKE.findall(words)]
            return Verdict(
                kind,
                reason,
                told.streams,
                limit=_limit(reason, words),
                refused=sum(ignored) or None,
                oldest_ns=_oldest_ns(told.words) if reason == "too_old" else None,
                times_ns=_times_ns(told.words),
            )
    return Verdict(Kind.UNREADABLE, "refused_by_destination")


def _limit(reason: str, words: str) -> int | None:
    found = _LIMITS[reason].search(words) if reason in _LIMITS else None
    return int(found[1]) if found else None


def _oldest_ns(text: str) -> int | None:
    found = _OLDEST.search(text)
    return _time_ns(found[1], found[2]) if found is not None else None


def _times_ns(text: str) -> frozenset[int]:
    """The times of the entries that are named; of many that are refused the first are."""
    found = ((_time_ns(day, time), fraction) for day, time, fraction in _ENTRY_TIME.findall(text))
    return frozenset(second + int(fraction.ljust(9, "0")) for second, fraction in found if second is not None)


def _time_ns(day: str, time: str) -> int | None:
    try:
        return int(datetime.fromisoformat(f"{day}T{time}+00:00").timestamp()) * 1_000_000_000
    except ValueError:
        return None


def _unquoted(text: str) -> str:
    """What stands between the quotes, as Go writes it."""
    try:
        return msgspec.json.decode(f'"{text}"'.encode(), type=str)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text
