"""Files that are followed into objects over several lives: what a file holds now is not what it held before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shipper.parsers.json import JsonParser
from shipper.parsers.record_time import RecordTime
from shipper.parsers.time_format import TimeFormat
from tests.inputs.tail.running import Tail

from .making import Running, options_of, running
from .server import SmallS3

pytestmark = pytest.mark.usefixtures("aws_keys")

PUT = "total_file_size 1M\nupload_timeout 1m\n"
RUN = '{"t":"1700000000","message":"0 rows"}\n' * 3
"""Lines of a job that says the same in the same second."""


@contextlib.asynccontextmanager
async def life(s3: SmallS3, folder: Path, log: Path) -> AsyncIterator[tuple[Tail, Running]]:
    """A process that follows the file into S3, until it is killed; the positions are saved then."""
    lines = f"path {log}\ndb {folder}/p.db\nread_from_head on\nparser timed\ntag app.web"
    timed = JsonParser("timed", time=RecordTime(TimeFormat("%s"), "t"))
    async with Tail(lines, settling="later", parsers={"timed": timed}) as tail:
        async with running(options_of(s3.url, folder / "s", PUT)) as one:
            forwarding = asyncio.ensure_future(forward(tail, one))
            try:
                yield tail, one
            finally:
                forwarding.cancel()
                await asyncio.gather(forwarding, return_exceptions=True)
        tail.save()
        await tail.kill()


async def forward(tail: Tail, one: Running) -> None:
    done = 0
    while True:  # the batches are those of a list: there is nothing to wait on
        one.put(*tail.batches[done:])
        done = len(tail.batches)
        await asyncio.sleep(0.01)


async def all_is_stored(tail: Tail, one: Running, count: int) -> None:
    """Wait until so many records were read and all of them are settled."""
    await tail.has(count)

    def is_settled() -> bool:
        one.output.flush()
        return all(batch.receipt.is_settled for batch in tail.batches)

    await one.until(is_settled)


@pytest.mark.parametrize("when", ["followed", "down"])
async def test_equal_lines_that_a_file_holds_after_a_truncation_are_stored(
    s3: SmallS3, tmp_path: Path, when: str
) -> None:
    log = tmp_path / "job.log"
    log.write_text(RUN)
    async with life(s3, tmp_path, log) as (tail, one):
        await all_is_stored(tail, one, 3)
    assert list(tmp_path.rglob("*.data"))
    if when == "down":
        log.write_text(RUN[: len(RUN) // 3])
    async with life(s3, tmp_path, log) as (tail, one):
        if when == "followed":
            await tail.until(lambda: tail.count("files_opened_total") == 1)
            log.write_text("")
            await tail.until(lambda: tail.count("files_truncated_total") == 1)
            log.write_text(RUN)
        await all_is_stored(tail, one, 3 if when == "followed" else 1)

    assert len(s3.lines()) == (6 if when == "followed" else 4)
