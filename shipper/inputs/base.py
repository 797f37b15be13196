"""What an input is, and the options that every input has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import field

from ..config.options import Options, opt
from ..config.service import LogLevel
from ..config.units import ByteSize, Seconds
from ..context import Context, Emit

_NO_RATE_GATE = "Accepted; an input waits when its buffer is full, whatever its rate."


class PluginOptions(Options):
    """Options of every plugin."""

    alias: Annotated[str | None, opt("Name of this instance in logs and metrics.", core=True)] = None
    log_level: Annotated[LogLevel | None, opt("Log level of this instance.", core=True)] = None
    log_suppress_interval: Annotated[Seconds, opt("Print similar messages once in this time.", core=True)] = Seconds(0)
    active: Annotated[str, opt("Accepted on every plugin; a filter with 'false' is skipped.", core=True)] = "true"
    condition: Annotated[str | None, opt("Accepted on every plugin.", core=True)] = None


class InputOptions(PluginOptions):
    """Options of every input."""

    ignored: ClassVar[tuple[str, ...]] = ("listen", "host", "port", "ipv6", "net", "tls")

    tag: Annotated[str | None, opt("Tag of the records; default is the instance name.", example="app.*", core=True)] = (
        None
    )
    routable: Annotated[bool, opt("With 'off' the records reach no output.", core=True)] = True
    mem_buf_limit: Annotated[
        ByteSize, opt("Memory that records of this input may take; 0 for the built-in bound.", example="50M", core=True)
    ] = ByteSize(0)
    storage_type: Annotated[
        Literal["memory", "filesystem", "memrb"] | None, opt("Where records wait for delivery.", core=True)
    ] = field(default=None, name="storage.type")
    pause_on_chunks_overlimit: Annotated[bool, opt("Pause the input at storage.max_chunks_up.", core=True)] = field(
        default=False, name="storage.pause_on_chunks_overlimit"
    )
    threaded: Annotated[bool, opt("Accepted; inputs share one event loop.", core=True)] = False
    ring_buffer_capacity: Annotated[int, opt("Accepted; there is no ring buffer.", core=True)] = field(
        default=1024, name="thread.ring_buffer.capacity"
    )
    ring_buffer_window: Annotated[int, opt("Accepted; there is no ring buffer.", core=True)] = field(
        default=5, name="thread.ring_buffer.window"
    )
    rate_window: Annotated[Seconds, opt("Time over which the exported rates are averaged.", core=True)] = Seconds(1)
    rate_gate: Annotated[bool, opt(_NO_RATE_GATE, core=True, without_effect=True)] = False
    rate_gate_limits: Annotated[
        tuple[str, ...], opt(_NO_RATE_GATE, family="rate_gate.", core=True, without_effect=True)
    ] = field(default=(), name="rate_gate.*")

    @property
    def may_be_stored(self) -> bool:
        """Whether records may wait on the disk of this machine, which settles their receipts before delivery."""
        return True


class Input(ABC):
    """A source of records. Constructors store; `open` and `run` do."""

    Options: ClassVar[type[InputOptions]]
    keeps_source: ClassVar[bool] = False
    """Whether what was not read stays where it is, as in a file: then nothing is gained by holding much in memory."""
    makes_tags: ClassVar[bool] = False
    """Whether records get tags that the configuration does not tell, such as those a sender chooses."""
    is_succeeded = False
    """Whether at a hot reload another input of the same `source` takes its place; set before `close`."""

    @abstractmethod
    def __init__(self, options: Any, context: Context) -> None: ...

    async def open(self) -> None:
        """Get ready; raise `OptionError` for what the configuration must mend. Nothing has been started yet."""

    @abstractmethod
    async def run(self, emit: Emit) -> None:
        """Read and emit until `stop` is called, the input ends by itself, or the task is cancelled.

        Each batch carries a receipt; the input may forget what it covers once it is settled.
        """

    async def stop(self) -> bool:
        """Take no more from the source, hand out what is held, and let `run` return soon.

        False (the default) says that `run` holds nothing and is to be cancelled.
        """
        return False

    async def close(self) -> None:
        """Save what must survive and release everything; called when no more receipts will be settled."""

    @property
    def source(self) -> Hashable:
        """What this input and one of another configuration have in common if one can go on where the other was.

        None if none can.
        """
        return None

    def handed_over(self) -> tuple[Hashable, Any] | None:
        """After `close`, what the next input of this source goes on from at a hot reload; with a name for the source.

        None if there is nothing that is not on disk.
        """
        return None

    def go_on_from(self, handed_over: Mapping[Hashable, Any]) -> None:
        """Before `open`, take what the inputs of the configuration before have handed over, by source."""
