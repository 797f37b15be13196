"""Where records wait, as the engine arranges it."""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import shipper.engine
from shipper.config.units import ByteSize
from shipper.errors import RetryLater
from shipper.filters.base import Filter, FilterOptions
from shipper.inputs.base import InputOptions
from shipper.record import RecordBatch
from shipper.storage import memory_limit
from shipper.testing import ListInput, MemoryOutput, batch_of
from tests.buffers.filesystem.chunks import chunk, event

from .engine_bench import EngineBench, running

AWAY = [RetryLater("away")] * 1000


@pytest.fixture(autouse=True)
def untouched_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper.engine, "_settle_memory", lambda: None)


def numbered() -> Iterator[RecordBatch]:
    return (batch_of(f"{n:0100d}") for n in itertools.count())


def bench_with(inputs: list[Any], outputs: list[Any], folder: Path, storage: str = "filesystem", **more: Any) -> Any:
    lines = more.pop("input_lines", "") + f"\nstorage.type {storage}"
    path: dict[str, Any] = {"storage_path": str(folder), "storage_free_space_floor": ByteSize(0)}
    return EngineBench(inputs, outputs, input_lines=lines, grace=2.0, **path, **more)


async def test_a_new_folder_for_what_is_stored_is_for_us_alone_and_one_that_was_there_stays_as_it_was(
    tmp_path: Path,
) -> None:
    (tmp_path / "before").mkdir(0o755)
    for name in ("before", "new"):
        async with running(bench_with([ListInput([batch_of("a")])], [MemoryOutput()], tmp_path / name)) as one:
            await one.pass_time(2)
            await one.stop(1)

    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("before", "new")] == [0o755, 0o700]


async def test_what_one_run_could_not_deliver_the_next_one_does_and_both_balance(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shipper")
    batch = batch_of("a", "b")
    async with running(bench_with([ListInput([batch])], [MemoryOutput(AWAY)], tmp_path)) as first:
        await first.pass_time(2)
        await first.stop(3)
        (account,) = first.engine.ledger.outputs()
        assert batch.receipt.is_settled
        assert (account.routed, account.held, first.accounts_balance()) == (2, 2, True)
    output = MemoryOutput()
    async with running(bench_with([ListInput([])], [output], tmp_path)) as second:
        await second.pass_time(2)
        await second.stop(1)
        (account,) = second.engine.ledger.outputs()

    assert output.sent == [["a", "b"]]
    assert (account.routed, account.delivered, second.accounts_balance()) == (2, 2, True)
    (told,) = [message for message in caplog.messages if "flush backlog chunk" in message]
    assert re.search(r"flush backlog chunk '\S+' succeeded: task_id=0, input=in.0 > output=ou.0 \(out_id=0\)", told)


@pytest.mark.parametrize("storage", ["memory", "memrb"])
async def test_what_an_input_has_stored_is_delivered_though_it_stores_no_more(storage: str, tmp_path: Path) -> None:
    async with running(bench_with([ListInput([batch_of("a")])], [MemoryOutput(AWAY)], tmp_path)) as first:
        await first.pass_time(2)
        await first.stop(3)
    output = MemoryOutput()
    async with running(bench_with([ListInput([batch_of("b")])], [output], tmp_path, storage)) as second:
        await second.pass_time(2)
        await second.stop(1)

    assert sorted(line for sent in output.sent for line in sent) == ["a", "b"]
    assert second.accounts_balance()


async def test_what_an_input_has_stored_that_is_gone_is_delivered(tmp_path: Path) -> None:
    inputs = [ListInput([]), ListInput([batch_of("a")])]
    async with running(bench_with(inputs, [MemoryOutput(AWAY)], tmp_path)) as first:
        await first.pass_time(2)
        await first.stop(3)
    output = MemoryOutput()
    async with running(bench_with([ListInput([])], [output], tmp_path)) as second:
        await second.pass_time(2)
        await second.stop(1)
        (account,) = second.engine.ledger.outputs()

    assert output.sent == [["a"]]
    assert (account.routed, second.accounts_balance()) == (1, True)


async def test_chunk_files_of_fluent_bit_count_as_routed_when_they_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shipper")
    (tmp_path / "tail.0").mkdir()
    (tmp_path / "tail.0" / "1-1.1.flb").write_bytes(chunk(event({"log": "old"}), b"any"))
    output = MemoryOutput()
    async with running(bench_with([ListInput([])], [output], tmp_path, "memory")) as bench:
        await bench.pass_time(2)
        await bench.stop(1)
        (account,) = bench.engine.ledger.outputs()

    assert output.sent == [["old"]]
    assert (account.routed, account.delivered, bench.accounts_balance()) == (1, 1, True)
    assert bench.metrics.total("routing_records_total", input="storage_backlog", output="ou.0") == 1
    (told,) = [message for message in caplog.messages if "flush backlog chunk" in message]
    assert "chunk '1-1.1.flb' succeeded: task_id=0, input=storage_backlog > output=ou.0 (out_id=0), records=1" in told


# -- memory ------------------------------------------------------------------------------------------------------------


async def test_a_ring_drops_the_oldest_records_tells_all_of_them_and_never_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batches = list(itertools.islice(numbered(), 100))
    one, output = ListInput(batches), MemoryOutput([RetryLater("away")] * 3)
    async with running(bench_with([one], [output], tmp_path, "memrb", input_lines="Mem_Buf_Limit 5k")) as bench:
        await bench.pass_time(0.5)
        emitted = one.emitted
        await bench.pass_time(60)
        told_before_the_stop = len(caplog.messages)
        await bench.stop(1)
        (account,) = bench.engine.ledger.outputs()
    sent = [int(line) for lines in output.sent for line in lines]

    assert emitted == 100
    assert account.dropped == {"memrb_overlimit": 100 - len(sent)}
    told = [
        found
        for m in caplog.messages[:told_before_the_stop]
        if (found := re.search(r"are dropped, .* records=(\d+), (.*), remedy", m))
    ]
    assert sum(int(found[1]) for found in told) == 100 - len(sent) > 0
    assert {found[2] for found in told} == {"reason=memrb_overlimit, tag=test"}
    assert (sent[-1], sent, len(sent) < 20) == (99, sorted(sent), True)
    assert bench.metrics.total("input_memrb_dropped_chunks") == 100 - len(sent)
    assert bench.metrics.total("routing_drop_records_total", input="in.0", output="ou.0") == 100 - len(sent)
    assert bench.accounts_balance()
    assert all(batch.receipt.is_settled for batch in batches)


@pytest.mark.parametrize(
    ("wanted", "keeps_source", "size", "source"),
    [
        (5_000_000, True, 5_000_000, "Mem_Buf_Limit"),
        (5_000_000, False, 5_000_000, "Mem_Buf_Limit"),
        (500_000_000, False, 500_000_000, "Mem_Buf_Limit"),
        (500_000_000, True, 16_000_000, "read-ahead 16000000B (Mem_Buf_Limit 500000000B)"),
        (0, True, 16_000_000, "read-ahead 16000000B (no Mem_Buf_Limit)"),
        (0, False, 64_000_000, "built-in 64000000B (no Mem_Buf_Limit)"),
    ],
)
def test_the_limit_of_an_input(wanted: int, keeps_source: bool, size: int, source: str) -> None:
    limit = memory_limit(InputOptions(mem_buf_limit=ByteSize(wanted)), keeps_source=keeps_source)

    assert (limit.size, limit.source) == (size, source)


async def test_an_output_that_is_away_does_not_starve_the_others_if_there_is_a_folder(tmp_path: Path) -> None:
    """10 MB through 1 MB of memory: without the folder the healthy output would stop after that."""
    batches = [batch_of(*(f"{n:05d}{'x' * 95}" for n in range(start, start + 500))) for start in range(0, 100_000, 500)]
    one, healthy = ListInput(batches), MemoryOutput()
    lines = "Mem_Buf_Limit 1M"
    async with running(
        bench_with([one], [healthy, MemoryOutput(AWAY)], tmp_path, "memory", input_lines=lines)
    ) as bench:
        for _ in range(60):
            await bench.pass_time(1)
        await bench.stop(3)
        accounts = bench.engine.ledger.outputs()

    assert (accounts[0].delivered, accounts[0].held) == (100_000, 0)
    assert (accounts[1].delivered, accounts[1].held) == (0, 100_000)
    assert bench.accounts_balance()


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_on", "shown"), [(True, 1), (False, 0)])
async def test_the_numbers_of_the_storage_are_among_the_metrics(is_on: bool, shown: int, tmp_path: Path) -> None:
    bench = bench_with([ListInput([batch_of("a")])], [MemoryOutput(AWAY)], tmp_path, storage_metrics=is_on)
    async with running(bench):
        await bench.pass_time(2)

        assert bench.metrics.value("input_storage_batches", name="in.0") == shown
        assert (bench.metrics.value("input_storage_disk_bytes", name="in.0") > 50) == is_on
        assert bench.metrics.value("output_held_records", name="ou.0") == 1


class Failing(Filter):
    """Cannot cope with some records."""

    Options = FilterOptions

    def __init__(self) -> None:
        """Needs nothing."""

    def apply(self, batch: RecordBatch) -> RecordBatch:
        if any("bad" in record.body["log"] for record in batch.records):
            raise ZeroDivisionError("bad")
        return batch


async def test_what_a_filter_could_not_cope_with_is_counted_and_kept(tmp_path: Path) -> None:
    lines = ["good", "bad", "good"]
    bench = bench_with(
        [ListInput([batch_of(line) for line in lines])],
        [MemoryOutput()],
        tmp_path,
        filters=[Failing()],
        storage_keep_rejected=True,
    )
    async with running(bench):
        await bench.pass_time(2)
        await bench.stop(1)
        (account,) = bench.engine.ledger.inputs()
    kept = (tmp_path / "rejected" / "fi.0" / "rejected.jsonl").read_text()

    assert account.dropped == {"filter_failed": 1}
    assert kept.count("\n") == 1
    assert '"log":"bad"' in kept
    assert bench.accounts_balance()


# -- a folder of somebody else -----------------------------------------------------------------------------------------


@contextmanager
def as_user(user: int) -> Iterator[None]:
    """Have the rights of another user for a while."""
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_a_folder_of_another_user_is_told_with_what_helps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "storage").mkdir(mode=0o700)
    bench = bench_with([ListInput([])], [MemoryOutput()], tmp_path / "storage")
    with as_user(10_001):
        async with running(bench):
            pass

    assert f"storage.path {tmp_path}/storage cannot be used: [Errno 13] Permission denied" in caplog.text
    assert "let user 10001, who runs this, own the folder and all in it" in caplog.text
