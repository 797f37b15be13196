"""How deeply records may be nested that come from outside.

Encoders, and whatever else descends into a record, stop at a depth that depends on the place where they are called. So
nothing comes in that could stop one of them; the limit is that of JSON that is parsed.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from itertools import chain
from typing import Any

from ..context import Context
from ..parsers.json_object import DEEPEST
from ..record import Record

TOO_DEEP = "nested_too_deeply"
"""Why records are dropped that have more levels."""

_REMARK_EVERY_S = 30.0


def is_too_deep(values: Sequence[Any]) -> bool:
    """Whether one of these values has more than `DEEPEST` levels of maps and lists.

    It goes down level by level, so that it needs no depth of its own.
    """
    for _ in range(DEEPEST):
        # A map that the collector does not track holds no others. Asking for that costs half as much as asking for the
        # type, and next to nothing for flat records.
        holders = [v for v in filter(gc.is_tracked, values) if type(v) is dict or type(v) is list]
        if not holders:
            return False
        values = list(chain.from_iterable([h.values() if type(h) is dict else h for h in holders]))
    return any(type(v) is dict or type(v) is list for v in values)


def without_deep(records: list[Record]) -> list[Record]:
    """The records that can be taken; the same list if all can."""
    if is_too_deep([r.body for r in records]) or is_too_deep([r.metadata for r in records if r.metadata]):
        return [r for r in records if not is_too_deep([r.body, r.metadata])]
    return records


def count_too_deep(records: int, context: Context, peer: str) -> None:
    """Count and tell records of a sender that were left out because of their depth."""
    context.dropped(records, 0, TOO_DEEP)
    context.log.error(
        "records are dropped that are nested too deeply", every=_REMARK_EVERY_S, peer=peer, most_levels=DEEPEST
    )


__all__ = ["TOO_DEEP", "count_too_deep", "is_too_deep", "without_deep"]
