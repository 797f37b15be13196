"""Records that are rows of CRI lines, with the same encoded maps at the end of each.

Nothing is made for a record but its JSON, when an output asks for it. With Merge_Log the texts of a block are decoded
one after the other, and the fields go into the JSON with those of the row. That short way takes only what it can prove
to be the same as `Merging.merge` makes of it, line by line; for anything else there is no short way, and the encoder
asks for `bodies`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import contains
from types import GenericAlias
from typing import Annotated, Any, Protocol, TypeGuard

import msgspec

from ...codecs.json_lines import HOLE, HoledLines
from ...record import Body, Content, Record
from .merging import KUBERNETES, OWN_KEYS, Merging

CRI_FIELDS = ("time", "stream", "_p", "log")
_STREAM, _LOG = 1, 3

CriRow = tuple[str, str, str, str]
_Columns = tuple[tuple[str, ...], ...]


class CriRows(Content, Protocol):
    """Content that is rows of the four fields of a CRI line."""

    @property
    def fields(self) -> tuple[str, ...]: ...

    @property
    def rows(self) -> Sequence[CriRow]: ...


def is_cri_rows(content: Content) -> TypeGuard[CriRows]:
    """Whether the content is rows of CRI lines."""
    return getattr(content, "fields", None) == CRI_FIELDS


def streams_of(content: CriRows) -> set[str]:
    """The streams of which there are records."""
    return {row[_STREAM] for row in content.rows}


class _Row(msgspec.Struct, gc=False):
    """A row and the first of the added maps; encoding it costs half of encoding a dict."""

    time: str
    stream: str
    _p: str
    log: str
    kubernetes: msgspec.Raw


# What fields on the short way may be. Large numbers are not among it: the encoder writes those otherwise than msgspec
# does, or as floats. Decoding with a type is as fast as without one.
_INTEGER = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_FLOAT = Annotated[float, msgspec.Meta(gt=-1e8, lt=1e8)]
_PLAIN: Any = str | _INTEGER | bool | _FLOAT | None
# Maps and arrays in one another; those in logs are fewer. Once there is JSON, the stack has room to decode it wherever
# in the program the records are asked for.
_MOST_LEVELS = 6


def _field_type(levels: int) -> Any:
    if not levels:
        return _PLAIN
    inner = _field_type(levels - 1)
    return _PLAIN | GenericAlias(list, (inner,)) | GenericAlias(dict, (str, inner))


# Many digits behind the point, or zeros, or a negative exponent: such a number may be small or have more than 16
# digits, and then the encoder writes it otherwise, too. What ends an exponent never follows on the digits of a UUID.
_UNUSUAL_FRACTION = re.compile(r"\.(?:\d{9}|0000)")
_NEGATIVE_EXPONENT = re.compile(r"-(?<=\d[eE]-)\d+[,}\]\s]")

_decode = msgspec.json.Decoder(GenericAlias(dict, (str, _field_type(_MOST_LEVELS))) | list[Any] | _PLAIN).decode
_decode_lines = msgspec.json.Decoder(dict[str, Any]).decode_lines
_HOLE = msgspec.Raw(HOLE)
_encode_lines = msgspec.json.Encoder().encode_lines


class EnrichedRows:
    """Rows with the maps that were added, by their keys, and with what Merge_Log makes of `log`.

    Once there is JSON, that is kept in place of the rows.
    """

    __slots__ = ("_added", "_inner", "_lines", "_merging", "_times")

    has_metadata = False

    def __init__(self, inner: CriRows, added: Mapping[str, msgspec.Raw], merging: Merging | None) -> None:
        self._inner: CriRows | None = inner
        self._added = dict(added)
        self._merging = merging
        self._times: Sequence[int] | None = None
        self._lines: HoledLines | None = None

    def __len__(self) -> int:
        return len(self._inner) if self._inner is not None else len(self.times_ns())

    def records(self) -> list[Record]:
        return [Record(t, body) for t, body in zip(self.times_ns(), self.bodies(), strict=True)]

    def times_ns(self) -> Sequence[int]:
        if self._times is None and self._inner is not None:
            self._times = self._inner.times_ns()
        return self._times or ()

    def bodies(self) -> list[Body]:
        if self._inner is None:
            return [] if self._lines is None else _decode_lines(self._lines.whole())
        rows = self._inner.rows
        bodies = self._bodies_with(rows, self._added)
        return merged_one_by_one(rows, self._added, self._merging) if bodies is None else bodies

    def json_lines(self) -> bytes | None:
        if self._inner is not None:
            lines = self._lines_with(self._inner.rows, self._added)
            if lines is None:
                return None
            self._keep(HoledLines(lines, None))
        return None if self._lines is None else self._lines.whole()

    def holed_json_lines(self) -> HoledLines | None:
        """`json_lines` with the map that is last in each as the filling; None if there is no shorter way to them."""
        if self._inner is not None and self._added:
            # What is added is put last, so the hole is where it has to be.
            last = next(reversed(self._added))
            lines = self._lines_with(self._inner.rows, {**self._added, last: _HOLE})
            if lines is None or len(lines) - len(lines.replace(HOLE, b"")) != len(self):  # a text has a DEL
                return None
            self._keep(HoledLines(lines, bytes(self._added[last])))
        return self._lines if self._lines is not None and self._lines.filling is not None else None

    def _keep(self, lines: HoledLines) -> None:
        self.times_ns()
        self._lines, self._inner = lines, None

    def _lines_with(self, rows: Sequence[CriRow], added: Mapping[str, msgspec.Raw]) -> bytes | None:
        """The rows as JSON, if there is a short way to that."""
        columns: _Columns = tuple(zip(*rows, strict=True))
        objects = self._objects_in(columns)
        if objects == [] and rows and tuple(added) == (KUBERNETES,):
            return _encode_lines(list(map(_Row, *columns, repeat(added[KUBERNETES]))))
        try:
            return None if objects is None else _encode_lines(self._with_objects(columns, objects, added))
        except (OverflowError, RecursionError, UnicodeEncodeError):
            return None

    def _bodies_with(self, rows: Sequence[CriRow], added: Mapping[str, msgspec.Raw]) -> list[Body] | None:
        """The rows as maps, if there is a short way to them."""
        columns: _Columns = tuple(zip(*rows, strict=True))
        objects = self._objects_in(columns)
        return None if objects is None else self._with_objects(columns, objects, added)

    def _objects_in(self, columns: _Columns) -> list[Body | None] | None:
        """What is to be merged, see `_objects`."""
        return [] if self._merging is None or not columns else _objects(columns[_LOG], self._merging.trim)

    def _with_objects(
        self, columns: _Columns, objects: Sequence[Body | None], added: Mapping[str, msgspec.Raw]
    ) -> list[Body]:
        if self._merging is not None and objects:
            return _joined(columns, objects, self._merging, added)
        rows = zip(*columns, strict=True)
        return [{"time": t, "stream": s, "_p": p, "log": log, **added} for t, s, p, log in rows]


def merged_one_by_one(rows: Sequence[CriRow], added: Mapping[str, msgspec.Raw], merging: Merging | None) -> list[Body]:
    """The rows as maps, made in the way that is right whatever is in them."""
    bodies: list[Body] = [{"time": t, "stream": s, "_p": p, "log": log} for t, s, p, log in rows]
    for body in bodies:
        if merging is not None:
            merging.merge(body, None, 0)  # JSON never changes the time
        put_last(body, added)
    return bodies


def put_last(body: Body, added: Mapping[str, msgspec.Raw]) -> None:
    """Put the maps at the end of the body; they win over fields of their names."""
    for key in added.keys() & body.keys():
        del body[key]
    body.update(added)


def _objects(texts: Sequence[str], trim: bool) -> list[Body | None] | None:
    """The object in each text, None where there is none; no list if that is not plain to see.

    An empty list says that no text has one.
    """
    blob = "\n".join(texts)
    if "{" not in blob:
        return []
    if trim and "\\" in blob and _may_end_in_line_ends(blob):
        return None
    if _has_unusual_number(blob):
        return None
    found = _decoded(texts)
    if found is not None:
        return found if set(map(type, found)) == {dict} else [o if type(o) is dict else None for o in found]
    is_object = [text[:1] == "{" for text in texts]
    if all(is_object) or any(text[:1].isspace() for text in texts):
        return None
    texts = [text for text in texts if text[:1] == "{"]
    found = _decoded(texts) if texts else []
    if not found:
        return found
    objects = iter(found)
    return [next(objects) if is_one else None for is_one in is_object]


def _decoded(texts: Sequence[str]) -> list[Any] | None:
    """The values that these texts are, each one of them; None if any is no JSON, or none for the short way."""
    try:
        return list(map(_decode, texts))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def _has_unusual_number(blob: str) -> bool:
    """Whether there may be a number that msgspec does not write like the encoder, apart from those that it refuses."""
    has_fraction = "." in blob and _UNUSUAL_FRACTION.search(blob) is not None
    return has_fraction or ("-" in blob and _NEGATIVE_EXPONENT.search(blob) is not None)


def _may_end_in_line_ends(blob: str) -> bool:
    r"""Whether a text may end in LF, `\n` or `\r`, which Merge_Log_Trim would cut."""
    return '\\n"' in blob or '\\r"' in blob or "\\u00" in blob


def _joined(
    columns: _Columns, objects: Sequence[Body | None], merging: Merging, added: Mapping[str, msgspec.Raw]
) -> list[Body]:
    """The rows with the fields of their objects and the added maps, as `Merging.merge` and `put_last` put them."""
    if merging.keep_log and None not in objects:
        bodies = _side_by_side(columns, objects, merging.key, added)  # type: ignore[arg-type]  # there is no None
        if bodies is not None:
            return bodies
    bodies = []
    for t, s, p, log, found in zip(*columns, objects, strict=True):
        body: Body = {"time": t, "stream": s, "_p": p, "log": log}
        if found is not None:
            merging.add(body, found)
        put_last(body, added)
        bodies.append(body)
    return bodies


def _side_by_side(
    columns: _Columns, objects: Sequence[Body], key: str | None, added: Mapping[str, msgspec.Raw]
) -> list[Body] | None:
    """One after the other; None if that is not all there is to it, because a field has the name of another.

    Or of a map that could have been added: such a field is left out.
    """
    rows = zip(*columns, objects, strict=True)
    if key is not None:
        if key in CRI_FIELDS or key in added or not all(objects):  # an empty map is not added
            return None
        return [{"time": t, "stream": s, "_p": p, "log": log, key: found, **added} for t, s, p, log, found in rows]
    if any(any(map(contains, objects, repeat(own))) for own in OWN_KEYS if own not in added):
        return None
    bodies = [{"time": t, "stream": s, "_p": p, "log": log, **found, **added} for t, s, p, log, found in rows]
    fields = sum(map(len, objects)) + (len(CRI_FIELDS) + len(added)) * len(bodies)
    return bodies if sum(map(len, bodies)) == fields else None
