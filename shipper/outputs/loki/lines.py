"""Records become lines: what is left of a record without the keys taken out of it, as JSON or as `k=v` text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from ...codecs.json_lines import HoledLines, JsonEncoder
from ...codecs.template import KeyPath
from ...record import Body, Content, Record

LineFormat = Literal["json", "key_value"]
SingleKey = Literal["off", "on", "raw"]

_Tree = dict[str | int, Any]
"""Steps into a value, and below each the steps that follow; None marks what is taken out."""

_KEPT: _Tree = {}
_decode = msgspec.json.decode


class Removal:
    """Takes keys out of copies of bodies. Maps that bodies share are copied once."""

    def __init__(self, paths: Sequence[KeyPath]) -> None:
        self._whole = frozenset(p.key for p in paths if not p.steps)
        self._inside: dict[str, _Tree] = {}
        for path in paths:
            if path.steps and path.key not in self._whole:
                _plant(self._inside.setdefault(path.key, {}), path.steps)

    def __bool__(self) -> bool:
        return bool(self._whole or self._inside)

    def apply(self, bodies: Sequence[Body]) -> list[Body]:
        """New bodies without the keys; the given ones, and the maps in them, stay as they are."""
        whole = self._whole
        left = [{k: v for k, v in body.items() if k not in whole} for body in bodies]
        for key, branch in self._inside.items():
            copies: dict[int, Any] = {}
            for body in left:
                if key in body:
                    value = body[key]
                    if (copy := copies.get(id(value))) is None:
                        copy = copies[id(value)] = _without(value, branch)
                    body[key] = copy
        return left


class LineMaker:
    """Makes the lines of bodies that are still whole."""

    def __init__(
        self, json: JsonEncoder, removed: Sequence[KeyPath], line_format: LineFormat, single_key: SingleKey
    ) -> None:
        self._json = json
        self._removal = Removal(removed)
        self._format = line_format
        self._single_key = single_key
        self.is_plain = not self._removal and line_format == "json" and single_key == "off"
        """Whether a line is just the record as JSON."""

    def json_lines(self, content: Content) -> HoledLines:
        """The lines of whole records as JSON; only if `is_plain`."""
        return self._json.encode_holed(content)

    def lines(self, bodies: Sequence[Body]) -> list[str]:
        """The line of each body, in order."""
        left = self._removal.apply(bodies) if self._removal else bodies
        if self._format == "key_value":
            return [self._key_value_line(body) for body in left]
        if self._single_key == "off":
            return self._as_json(left)
        single = [len(body) == 1 for body in left]
        lines = iter(self._as_json([b for b, alone in zip(left, single, strict=True) if not alone]))
        is_raw = self._single_key == "raw"
        return [
            self._single(next(iter(body.values())), is_raw) if alone else next(lines)
            for body, alone in zip(left, single, strict=True)
        ]

    def _as_json(self, bodies: Sequence[Body]) -> list[str]:
        if not bodies:
            return []
        lines = self._json.encode_lines(_Bodies(bodies)).decode().split("\n")
        lines.pop()
        return lines

    def _single(self, value: Any, is_raw: bool) -> str:
        if isinstance(value, msgspec.Raw):
            value = _decode(value)
        return value if is_raw and isinstance(value, str) else self._json.encode(value).decode()

    def _key_value_line(self, body: Body) -> str:
        if self._single_key != "off" and len(body) == 1:
            value = next(iter(body.values()))
            return value if isinstance(value, str) else key_value_text(value)
        return " ".join([f"{key}={key_value_text(value)}" for key, value in body.items()])


def key_value_text(value: Any) -> str:
    """A value as `line_format key_value` shows it; quotes in it are not escaped."""
    if isinstance(value, msgspec.Raw):
        value = _decode(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.1f}" if value.is_integer() and abs(value) < 1e16 else f"{value:.16g}"
    if isinstance(value, dict):
        return f'"map[{" ".join([f"{k}:{key_value_text(v)}" for k, v in value.items()])}]"'
    if isinstance(value, list | tuple):
        return f'"[{" ".join(map(key_value_text, value))}]"'
    if isinstance(value, bytes):
        return f'"{value.decode("utf-8", "replace")}"'
    return str(value)


class _Bodies:
    """Content that is nothing but bodies, for the encoder."""

    has_metadata = False

    def __init__(self, bodies: Sequence[Body]) -> None:
        self._bodies = bodies

    def __len__(self) -> int:
        return len(self._bodies)

    def __iter__(self) -> Iterator[Body]:
        return iter(self._bodies)

    def records(self) -> list[Record]:
        return [Record(0, body) for body in self._bodies]

    def times_ns(self) -> list[int]:
        return [0] * len(self._bodies)

    def bodies(self) -> Sequence[Body]:
        return self._bodies

    def json_lines(self) -> None:
        return None


def _plant(tree: _Tree, steps: Sequence[str | int]) -> None:
    """Note a path in a tree; what is taken out has no branches, so nothing is noted below it."""
    for step in steps[:-1]:
        branch = tree.setdefault(step, {})
        if branch is None:
            return
        tree = branch
    tree[steps[-1]] = None


def _without(value: Any, tree: _Tree) -> Any:
    """A copy without what the tree names."""
    if isinstance(value, msgspec.Raw):
        value = _decode(value)
    if isinstance(value, dict):
        return {
            k: _without(v, branch) if branch else v
            for k, v in value.items()
            if (branch := tree.get(k, _KEPT)) is not None
        }
    if isinstance(value, list):
        return [
            _without(v, branch) if branch else v
            for i, v in enumerate(value)
            if (branch := tree.get(i, _KEPT)) is not None
        ]
    return value
