"""The systemd input on a real journal file, from its start to its last entry."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

import pytest

from shipper.clock import SystemClock
from shipper.inputs.systemd.input import SystemdInput, SystemdOptions
from shipper.record import RecordBatch
from shipper.testing import context_of
from tests.components.journal import journal_remote, write_journal
from tests.written_options import options_from

from .material import texts
from .measuring import Stage

_ENTRIES = 3_000
_PATIENCE_S = 20.0


def _demand_tools() -> None:
    """Skip with the reason if there is nothing to write a journal with, or to read it."""
    try:
        journal_remote()
    except AssertionError as error:
        pytest.skip(str(error))
    if importlib.util.find_spec("systemd") is None:
        pytest.skip("the package systemd-python is not installed")


async def _read(folder: Path, options: str, entries: int) -> list[RecordBatch]:
    """What the input has emitted when it has reached so many entries."""
    written = f"path {folder}\n{options}"
    one = SystemdInput(
        options_from(SystemdOptions, written, "input"), context_of("input", "systemd.0", SystemClock(), memory_limit=0)
    )
    batches: list[RecordBatch] = []
    has_all = asyncio.Event()

    async def emit(batch: RecordBatch) -> None:
        batches.append(batch)
        batch.receipt.settle()
        if sum(map(len, batches)) >= entries:
            has_all.set()

    await one.open()
    running = asyncio.ensure_future(one.run(emit))
    async with asyncio.timeout(_PATIENCE_S):
        await has_all.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await one.close()
    return batches


@pytest.mark.parametrize("options", ["", "lowercase on\nstrip_underscores on"], ids=["", "lowercase names"])
def test_reading(stage: Stage, tmp_path: Path, options: str) -> None:
    _demand_tools()
    messages = texts("plain")[:_ENTRIES]
    fields = {"PRIORITY": "6", "_SYSTEMD_UNIT": "web.service", "_PID": "1234", "_COMM": "web", "SYSLOG_FACILITY": "3"}
    write_journal(tmp_path / "a.journal", *({"MESSAGE": message, **fields} for message in messages))

    batches = stage.measure(lambda: stage.wait(_read(tmp_path, options, len(messages))), records=len(messages))

    key = "message" if options else "MESSAGE"
    assert [record.body[key] for batch in batches for record in batch] == messages
