"""What the annotations of a pod ask for: a parser for its lines, or that they are left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from ...config.units import parse_bool
from ...parsers.base import Parser, ParserLibrary

Stream = Literal["stdout", "stderr"]

_PREFIX = "fluentbit.io/"
_PROPERTY = re.compile(r"(parser|exclude)(?:_(stdout|stderr))?(?:-(.+))?", re.DOTALL)
_BOTH: tuple[Stream, ...] = ("stdout", "stderr")
_STREAMS: Mapping[str | None, tuple[Stream, ...]] = {None: _BOTH, "stdout": ("stdout",), "stderr": ("stderr",)}


class Wishes(msgspec.Struct):
    """What one container asks for, by stream; a stream without an entry has no wish."""

    parsers: dict[Stream, Parser] = {}
    excluded: dict[Stream, bool] = {}

    def parser_of(self, stream: object) -> Parser | None:
        """The parser for records of this stream; a record without a stream has none."""
        return self.parsers.get(stream) if stream in _BOTH else None

    def excludes(self, stream: object) -> bool:
        """Whether records of this stream are left out; those without a stream only if both streams are."""
        if stream in _BOTH:
            return self.excluded.get(stream, False)
        return all(self.excluded.get(one, False) for one in _BOTH)


class AnnotationReader:
    """Reads the wishes for a container; `remark` is told of those that cannot be obeyed, with the annotation."""

    def __init__(
        self, parsers: ParserLibrary, *, may_parse: bool, may_exclude: bool, remark: Callable[[str, str], None]
    ) -> None:
        self._parsers = parsers
        self._is_allowed = {"parser": may_parse, "exclude": may_exclude}
        self._remark = remark

    def read(self, annotations: Mapping[str, Any], container: str) -> Wishes:
        """A wish for one container wins over a general one; of several general ones the first counts."""
        wishes = Wishes()
        told: set[str] = set()
        for key, value in annotations.items():
            text = key.removeprefix(_PREFIX)
            if text and text != key:
                self._obey(wishes, text, value, container, told)
        return wishes

    def _obey(self, wishes: Wishes, text: str, value: Any, container: str, told: set[str]) -> None:
        found = _PROPERTY.fullmatch(text)
        if not found:
            self._remark("an annotation is not understood and is ignored", _PREFIX + text)
            return
        kind, stream, only_for = found.groups()
        if not self._is_allowed[kind]:
            if kind not in told:
                told.add(kind)
                self._remark(f"annotations are ignored because K8S-Logging.{kind.title()} is off", _PREFIX + text)
            return
        if only_for is not None and only_for != container:
            return
        slots: dict[Stream, Any] = wishes.excluded if kind == "exclude" else wishes.parsers
        wish = _is_true(value) if kind == "exclude" else self._parser(text, value)
        if wish is None:
            return
        for one in _STREAMS[stream]:
            if only_for is not None:
                slots[one] = wish
            else:
                slots.setdefault(one, wish)

    def _parser(self, text: str, value: Any) -> Parser | None:
        parser = self._parsers.get(value) if isinstance(value, str) else None
        if parser is None:
            self._remark(f"no parser is called {value!r}; the annotation is ignored", _PREFIX + text)
        return parser


def _is_true(value: Any) -> bool:
    try:
        return parse_bool(str(value))
    except ValueError:
        return False
