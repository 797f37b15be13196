"""What inputs have in common to which senders push."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ...context import Context, Emit
from ...record import RecordBatch
from ..base import Input

CUT_OFF = "cut_off"
"""Why records are dropped that a sender will not send again and that found no room before we had to end."""


FAILED = "failed"
"""Why records are dropped that something failed unexpectedly on; the log has the traceback."""


class NotTaken(Exception):
    """Something failed unexpectedly on records that were handed on, and they have been counted as lost."""


async def hand_on(batch: RecordBatch, emit: Emit, context: Context) -> None:
    """Emit what was taken from a sender who believes it to be safe; if that is cancelled it is a counted loss.

    It is one, too, if that fails; raises `NotTaken` then.
    """
    records, size = len(batch), batch.size
    try:
        await emit(batch)
    except asyncio.CancelledError:
        count_cut_off(records, size, context)
        raise
    except Exception as error:
        context.dropped(records, size, FAILED)
        raise NotTaken("records could not be handed on") from error


def count_cut_off(records: int, size: int, context: Context) -> None:
    """Count what came from a sender who believes it to be safe, and what there was no time for."""
    if records:
        context.dropped(records, size, CUT_OFF)


class Listener(Protocol):
    """Where senders come in: `StreamListener` or `DatagramListener`."""

    @property
    def port(self) -> int: ...

    async def open(self) -> None: ...

    async def run(self, emit: Emit) -> None: ...

    def stop(self) -> None: ...

    async def close(self) -> None: ...


class PushInput(Input):
    """An input that lives as its listener does; constructors of derived classes set `listener`."""

    listener: Listener

    async def open(self) -> None:
        await self.listener.open()

    async def run(self, emit: Emit) -> None:
        """Hand on what senders bring, until `stop`; what is not taken from them they keep."""
        await self.listener.run(emit)

    async def stop(self) -> bool:
        self.listener.stop()
        return True

    async def close(self) -> None:
        await self.listener.close()
