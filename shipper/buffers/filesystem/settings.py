"""How a filesystem buffer is to work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from .limits import ChunkBudget, StorageLimit
from .log import SEGMENT_SIZE

SMALLEST_SEGMENT = 256 << 10
"""Segments are made smaller for small limits, down to this."""


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How batches are stored.

    `path` is storage.path; `memory` bounds the resident bytes of batches that are kept in memory beside their file;
    `floor` is what must stay free in the file system, 0 for nothing. `limits` are by the name of the output, and so are
    `names`: what it is called in the files if not so, known when the buffer is opened. `keeps_source` says that what is
    not stored stays where the input reads it.
    """

    path: str
    sync: Literal["normal", "full"] = "normal"
    memory: int = 32_000_000
    floor: int = 10_000_000
    segment_size: int = SEGMENT_SIZE
    limits: Mapping[str, StorageLimit] = {}
    names: Mapping[str, str] = {}
    budget: ChunkBudget | None = None
    keeps_source: bool = False

    def usual_segment(self) -> int:
        """The size of a segment: small enough that one of which little is needed does not count against a limit."""
        smallest = min((limit.limit for limit in self.limits.values()), default=None)
        if smallest is None:
            return self.segment_size
        return min(self.segment_size, max(SMALLEST_SEGMENT, smallest // 128))
