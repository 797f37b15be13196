"""What a filter is, and the options that every filter has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar

from ..config.options import Options, opt
from ..config.service import LogLevel
from ..config.units import Seconds
from ..context import Context
from ..parsers.onigmo import Regex
from ..record import RecordBatch


class FilterOptions(Options):
    """Options of every filter."""

    match: Annotated[str | None, opt("Tags the filter acts on; * stands for any text.", example="app.*", core=True)] = (
        None
    )
    match_regex: Annotated[
        Regex | None, opt("Tags the filter acts on, as a regular expression from the tag's start.", core=True)
    ] = None
    alias: Annotated[str | None, opt("Name of this instance in logs and metrics.", core=True)] = None
    log_level: Annotated[LogLevel | None, opt("Log level of this instance.", core=True)] = None
    log_suppress_interval: Annotated[Seconds, opt("Print similar messages once in this time.", core=True)] = Seconds(0)
    active: Annotated[str, opt("With 'false' the filter is skipped.", core=True)] = "true"
    condition: Annotated[str | None, opt("Accepted as a text; in YAML a map with op and rules.", core=True)] = None


class Filter(ABC):
    """Changes, drops or makes records of the batches whose tag it matches."""

    Options: ClassVar[type[FilterOptions]]
    makes_tags: ClassVar[bool] = False
    """Whether it hands on batches of other tags; it then counts as an input of its own for outputs without Match."""

    @abstractmethod
    def __init__(self, options: Any, context: Context) -> None: ...

    async def open(self) -> None:
        """Get ready; raise `OptionError` for what the configuration must mend."""

    async def prepare(self, batch: RecordBatch) -> None:
        """Wait, within a deadline, for what `apply` needs. Most filters need nothing."""

    @abstractmethod
    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        """The batch to go on with, or None if no record is left. The filter owns the batch it is given."""

    async def close(self) -> None:
        """Release everything."""


class HoldingFilter(Filter):
    """A filter that may keep records back over several batches, or make batches of its own, and hand them out later.

    Whatever it keeps it keeps apart for each source: an input, or what another such filter has handed out of an input.
    Keeping a record means to owe the receipt of its batch: `take` shares it, and the batch that is handed out in its
    place settles it. What is handed out goes through the filters of its input from the first one on, and skips this one
    and those that handed it out before.
    """

    @classmethod
    def hands_out(cls, options: Any) -> bool:
        """Whether it hands anything out with these options; otherwise `apply` alone does everything."""
        return True

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        """As `take`, for batches of a source without a name."""
        return self.take(batch, "")

    @abstractmethod
    def take(self, batch: RecordBatch, source: str) -> RecordBatch | None:
        """As `apply`, for a batch of this source."""

    @abstractmethod
    def handed_out(self, source: str) -> list[RecordBatch]:
        """The batches that are ready to go on, in their order; each is given once."""

    def passed_by(self, batch: RecordBatch) -> None:
        """Take note of a batch that would come here again if it did not skip this filter, before it goes on."""

    @abstractmethod
    def held(self, source: str) -> int:
        """The number of records of this source that are kept back now."""

    @abstractmethod
    def release(self, source: str, now: float | None) -> float | None:
        """Get ready to hand out what is due at `now` (all there is, if that is None), and say when to ask again.

        Times are those of the monotonic clock; None says that nothing is kept back.
        """
