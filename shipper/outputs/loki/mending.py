"""What is sent in place of a request that was refused in part; pure, as what is left is all that matters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from .guard import Labels, Shape
from .requests import LINES_LIMIT, Part, Request, halves, packed
from .streams import Entries, LineEncoder, Metadata, Stream, with_metadata
from .verdicts import Selector, Verdict

MARKER = " [cut]"
_ADDED_BY_LOKI = frozenset({"service_name", "detected_level", "__stream_shard__"})
_DEFAULT_LINE_LIMIT = 262_144
_METADATA_BYTES, _METADATA_PAIRS = 65_536, 128


class Mended(msgspec.Struct):
    """What becomes of a refused request: requests to send in its place, and what is refused for good.

    `refused` are places of records in the delivery. What is in neither was accepted.
    """

    again: list[Request] = []
    refused: list[int] = []


class Lines(msgspec.Struct, frozen=True):
    """How the lines of entries are read and written; with `may_cut` those that are too long are cut."""

    plain: Callable[[bytes], str]
    encode: LineEncoder
    may_cut: bool = True


def without_refused(request: Request, verdict: Verdict) -> Mended:
    """Entries were refused because of their times: those that are named, else the oldest or, if too new, the newest."""
    entries = request.records
    if verdict.refused is not None:
        refused = verdict.refused
    elif (oldest := verdict.oldest_ns) is not None:
        refused = sum([sum([t < oldest for t in part.entries.times]) for part in request.parts])
    else:
        refused = 1
    refused = min(max(refused, 1), entries)
    parts = request.parts
    if verdict.reason not in ("too_old", "too_new"):  # these two are about all streams, the others about one
        named = tuple(p for p in parts if any(_is_named(p.stream, s) for s in verdict.streams))
        parts = named if refused <= sum([len(p.entries) for p in named]) else parts
    sign = -1 if verdict.reason == "too_new" else 1
    rows = [row for part in parts for row in zip(part.entries.times, part.entries.places, strict=True)]
    rows.sort(key=lambda row: (row[0] not in verdict.times_ns, sign * row[0]))
    return Mended([], [place for _, place in rows[:refused]])


def refused_whole(request: Request) -> Mended:
    """Nothing of the request will ever be taken."""
    return Mended([], [place for part in request.parts for place in part.entries.places])


def with_shorter_lines(request: Request, verdict: Verdict, lines: Lines) -> Mended | None:
    """The lines above the limit alone, cut to it; refused if they may not be cut or were cut before.

    None if no line is above the limit: then the answer does not tell which are meant, nor that others were taken.
    """
    limit = verdict.limit or _DEFAULT_LINE_LIMIT
    mended = Mended()
    for part in request.parts:
        # A line is never longer than it is encoded, so most need not be looked at.
        texts = {row: lines.plain(line) for row, line in enumerate(part.entries.lines) if len(line) > limit}
        rows = [row for row, text in texts.items() if len(text.encode("utf-8", "replace")) > limit]
        if not rows:
            continue
        found = part.entries.rows(rows)
        if request.is_mended or not lines.may_cut:
            mended.refused += found.places
        else:
            cut = lines.encode.texts([shortened(texts[row], limit) for row in rows])
            shorter = Entries(found.times, cut, found.metadata, sum(map(len, cut)), found.places)
            mended.again.append(Request(request.tenant, (Part(part.stream, shorter),), is_mended=True))
    return mended if mended.again or mended.refused else None


def long_lines_apart(request: Request) -> list[Request]:
    """The lines of a single stream that may be too long, and the others, in two requests; none if all are alike."""
    stream, entries = request.parts[0].stream, request.parts[0].entries
    long = [row for row, line in enumerate(entries.lines) if len(line) > _DEFAULT_LINE_LIMIT]
    others = sorted(set(range(len(entries))).difference(long))
    if not long or not others:
        return []
    return [msgspec.structs.replace(request, parts=(Part(stream, entries.rows(rows)),)) for rows in (others, long)]


def shortened(text: str, limit: int) -> str:
    """The beginning of a text that has, with a marker behind it, at most so many bytes."""
    room = max(0, limit - len(MARKER))
    return text.encode("utf-8", "replace")[:room].decode("utf-8", "ignore") + MARKER[:limit]


def with_other_labels(request: Request, verdict: Verdict, shape: Shape) -> Mended | None:
    """The streams whose labels are above a limit, with labels that keep to it; else the named stream is refused.

    A server names one stream only, but refuses all that break the same rule. None if it cannot be told which is meant.
    """
    _learn_limit(verdict, shape, request)
    again = []
    for part in request.parts:
        labels, moved = shape.fitted(part.stream.labels)
        if moved or labels != part.stream.labels:
            again.append(relabelled(part, labels, moved))
    if again:
        return Mended(packed(again, LINES_LIMIT, is_mended=True))
    named = _named(request.parts, verdict.streams)
    return Mended([], list(named.entries.places)) if named is not None else None


def _learn_limit(verdict: Verdict, shape: Shape, request: Request) -> None:
    """Let labels keep from now on to the limit that the server has told, or that shows in what it has refused."""
    named = _named(request.parts, verdict.streams)
    labels = [label for part in ([named] if named else request.parts) for label in part.stream.labels]
    if verdict.reason == "too_many_labels":
        shape.learn_most_labels(verdict.limit or 15)
    elif verdict.reason == "label_value_too_long":
        shape.learn_longest("value", max([len(value.encode()) for _, value in labels]))
    elif verdict.reason == "label_name_too_long":
        shape.learn_longest("name", max([len(name) for name, _ in labels]))


def with_fewer_streams(request: Request, verdict: Verdict, shape: Shape) -> Mended | None:
    """The named stream alone, as part of another one; None if nothing can be taken from its labels."""
    part = _named(request.parts, verdict.streams)
    if part is None:
        return None
    shape.forget(*part.stream)
    shape.tighten()
    labels, moved = shape.admit(*part.stream)
    if labels == part.stream.labels:
        return None
    return Mended([Request(request.tenant, (relabelled(part, labels, moved),), is_mended=True)])


def only_named(request: Request, streams: Sequence[Selector]) -> Request:
    """The streams of the request that are named; all if none of them can be found."""
    parts = tuple(p for p in request.parts if any(_is_named(p.stream, s) for s in streams))
    return msgspec.structs.replace(request, parts=parts) if parts else request


def without_metadata(request: Request) -> Mended:
    """The entries that have structured metadata, without them."""
    mended = Mended()
    for part in request.parts:
        entries = part.entries
        if rows := [row for row, m in enumerate(entries.metadata or ()) if m]:
            bare = entries.rows(rows)
            bare.metadata = None
            mended.again.append(Request(request.tenant, (Part(part.stream, bare),), is_mended=True))
    return mended if mended.again else refused_whole(request)


def with_less_metadata(request: Request, verdict: Verdict) -> Mended:
    """The entries whose structured metadata are above the limit, with as many of them as it allows."""
    most_pairs, most_bytes = _METADATA_PAIRS, _METADATA_BYTES
    if verdict.reason == "too_many_metadata":
        most_pairs = verdict.limit or most_pairs
    else:
        most_bytes = verdict.limit or most_bytes
    mended = Mended()
    for part in request.parts:
        fewer = {
            r: m
            for r, old in enumerate(part.entries.metadata or ())
            if (m := _fewer(old, most_pairs, most_bytes)) != old
        }
        if not fewer:
            continue
        entries = part.entries.rows(list(fewer))
        if request.is_mended:
            mended.refused += entries.places
        else:
            entries.metadata = list(fewer.values())
            mended.again.append(Request(request.tenant, (Part(part.stream, entries),), is_mended=True))
    return mended if mended.again or mended.refused else without_refused(request, verdict)


def smaller(request: Request, lines: Lines) -> Mended:
    """Two halves, or one entry with half of its line; refused if there is nothing left to halve."""
    if request.records > 1:
        return Mended(halves(request))
    part = request.parts[0]
    text = lines.plain(part.entries.lines[0])
    if len(text) < 1024 or not lines.may_cut:
        return refused_whole(request)
    cut = lines.encode.texts([shortened(text, len(text.encode("utf-8", "replace")) // 2)])
    entries = Entries(part.entries.times, cut, part.entries.metadata, len(cut[0]), part.entries.places)
    return Mended([Request(request.tenant, (Part(part.stream, entries),), request.is_mended)])


def relabelled(part: Part, labels: Labels, moved: Labels) -> Part:
    """The part under other labels; those that are moved become structured metadata."""
    entries = part.entries
    changed = with_metadata(entries, moved) if moved else entries
    return Part(Stream(part.stream.tenant, labels), changed)


def _named(parts: Sequence[Part], streams: Sequence[Selector]) -> Part | None:
    """The part that is meant; one that is alone needs no name."""
    if len(parts) == 1:
        return parts[0]
    found = [p for p in parts if any(_is_named(p.stream, s) for s in streams)]
    return found[0] if found else None


def _is_named(stream: Stream, selector: Selector) -> bool:
    labels = dict(stream.labels)
    return labels == {k: v for k, v in selector.items() if k in labels or k not in _ADDED_BY_LOKI}


def _fewer(metadata: Metadata, most_pairs: int, most_bytes: int) -> Metadata:
    kept: Metadata = {}
    size = 0
    for name, value in metadata.items():
        more = len(name.encode()) + len(value.encode())
        if len(kept) < most_pairs and size + more <= most_bytes:
            kept[name] = value
            size += more
    return kept
