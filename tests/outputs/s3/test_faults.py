"""A bucket that does not answer, does not allow, does not exist; a disk that is full."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from shipper.aws.settings import NoAnswer
from shipper.buffers.base import Delivery
from shipper.disk import SystemDisk
from shipper.errors import RetryLater
from shipper.log import Log
from shipper.outputs.s3.bucket import Bucket, NoReply
from shipper.outputs.s3.sending import Sender
from shipper.outputs.s3.spool import Sheet, Spool, new_name
from shipper.record import RecordBatch
from shipper.testing import FaultyDisk, ManualClock

from .making import batch_of, lines_from, options_of, running, working
from .server import Fault, SmallS3
from .test_multipart import numbers

pytestmark = pytest.mark.usefixtures("aws_keys")

PUT = "total_file_size 1M\nupload_timeout 0.05\n"
DENIED = Fault(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
MISSING = Fault(404, b"<Error><Code>NoSuchBucket</Code><Message>no</Message></Error>")


def wide(number: int) -> RecordBatch:
    batch = batch_of({"n": number, "pad": "x" * 300_000})
    batch.size = 300_000
    return batch


async def test_twenty_failures_end_in_one_object(s3: SmallS3, tmp_path: Path) -> None:
    s3.fail("PutObject", *[Fault()] * 20)
    async with running(options_of(s3.url, tmp_path, PUT)) as one:
        one.retry_after(0.001)
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.count("proc_records_total") == 1)

        assert one.count("upload_failures_total") == 20
    assert len(s3.objects) == 1
    assert len({call.key for call in s3.calls}) == 1
    assert not list(tmp_path.rglob("quarantine/*"))


@pytest.mark.parametrize("fault", [DENIED, MISSING])
async def test_a_bucket_that_does_not_take_it_is_asked_again_and_holds_what_is_owed(
    s3: SmallS3, tmp_path: Path, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    s3.fail("PutObject", *[fault] * 3)
    batch = batch_of({"n": 1})
    async with running(options_of(s3.url, tmp_path, PUT)) as one:
        one.retry_after(0.05)
        one.put(batch)
        await one.until(lambda: one.count("upload_failures_total") == 3)
        held = (one.dispatcher.held()[0], batch.receipt.is_settled)
        await one.until(lambda: one.count("proc_records_total") == 1)

    assert held == (1, False)
    told = "s3:PutObject on bucket b" if fault is DENIED else "NoSuchBucket"
    assert told in caplog.text


async def test_an_object_whose_retries_are_used_up_is_put_aside_and_sent_after_the_next_start(
    s3: SmallS3, tmp_path: Path
) -> None:
    s3.fail("PutObject", Fault())
    batch = batch_of({"n": 1})
    options = options_of(s3.url, tmp_path, f"{PUT}retry_limit no_retries\n")
    async with running(options) as one:
        one.put(batch)
        await one.until(lambda: batch.receipt.is_settled)

        assert one.context.metrics.by_label("output_dropped_records_total", "reason", name="s3.0") == {"quarantined": 1}
        assert one.count("proc_records_total") == 0
    aside = list(tmp_path.rglob("quarantine/*.data"))
    async with running(options) as one:
        await one.until(lambda: bool(s3.objects))

    assert len(aside) == 1
    assert numbers(s3) == [1]


async def test_deleting_instead_is_counted_by_its_reason(s3: SmallS3, tmp_path: Path) -> None:
    s3.fail("PutObject", Fault())
    lines = f"{PUT}retry_limit no_retries\nretry_exhausted_action delete\n"
    async with running(options_of(s3.url, tmp_path, lines)) as one:
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.dispatcher.held() == (0, 0))

        assert one.context.metrics.by_label("output_dropped_records_total", "reason", name="s3.0") == {"no_retries": 1}
    assert not list(tmp_path.rglob("*.data"))


async def test_a_full_store_holds_records_back_and_sends_what_it_has(s3: SmallS3, tmp_path: Path) -> None:
    lines = "total_file_size 50M\nupload_timeout 1m\nuse_put_object on\nstore_dir_limit_size 500K\n"
    async with running(options_of(s3.url, tmp_path, lines)) as one:
        for number in range(4):
            one.put(wide(number))
            await one.until(lambda: one.buffer.statistics().records <= 1)
        await one.until(lambda: one.count("proc_records_total") >= 1)
        weight = one.output._uploads.weight if one.output._uploads else 0
        await one.drain()

    assert weight < 1_000_000
    assert numbers(s3) == list(range(4))


@pytest.mark.parametrize("order", ["on", "off"])
async def test_order_of_objects_of_a_tag(s3: SmallS3, tmp_path: Path, order: str) -> None:
    s3.fail("PutObject", Fault())
    lines = f"total_file_size 1M\npreserve_data_ordering {order}\ns3_key_format /$INDEX\n"
    async with running(options_of(s3.url, tmp_path, lines)) as one:
        one.retry_after(0.3)
        for number in range(8):
            one.put(batch_of({"n": number, "pad": "x" * 600_000}))
            await one.until(lambda: one.buffer.statistics().records == 0)
        await one.until(lambda: len(s3.objects) == 4)

    assert (next(iter(s3.objects)) == "0") == (order == "on")
    assert len(s3.objects) == 4


@pytest.mark.parametrize("call", ["write", "open", "rename"])
async def test_a_disk_that_fails_at_any_step_loses_and_repeats_nothing(s3: SmallS3, tmp_path: Path, call: str) -> None:
    for step in range(1, 30):
        disk = FaultyDisk(0, (call,), errno.ENOSPC)
        folder = tmp_path / str(step)
        async with running(options_of(s3.url, folder, "total_file_size 1M\n"), disk=disk) as one:
            disk.fail_after(step - 1)
            one.put(batch_of({"n": 1, "step": step}))
            await one.until(lambda: one.dispatcher.held()[0] == 1)
            await one.drain()
            held = one.dispatcher.held()
        lines = [line for line in s3.lines() if f'"step":{step}}}' in line]

        assert held == (0, 0)
        assert len(lines) == 1
        if not disk.failed:
            break
    else:
        pytest.fail("the disk failed at every step")


async def test_a_delivery_waits_at_every_attempt_while_the_disk_is_full(s3: SmallS3, tmp_path: Path) -> None:
    disk = FaultyDisk(0, ("write",), errno.ENOSPC)
    async with working(options_of(s3.url, tmp_path, "total_file_size 1M\n"), ManualClock(), disk) as one:
        await one.send(batch_of({"n": 1}))
        delivery = Delivery("app.web", [batch_of({"n": 2})])
        for _ in range(3):
            disk.fail_after(0)
            with pytest.raises(RetryLater):
                await one.output.send(delivery)
        await one.output.send(delivery)
        one.output.flush()
        await one.until(lambda: bool(s3.objects))

    assert numbers(s3) == [1, 2]


@pytest.mark.parametrize("call", ["write", "open", "rename"])
async def test_a_disk_that_fails_while_records_come_again_loses_and_repeats_nothing(
    s3: SmallS3, tmp_path: Path, call: str
) -> None:
    for step in range(1, 30):
        disk = FaultyDisk(0, (call,), errno.ENOSPC)
        options = options_of(s3.url, tmp_path / str(step), "total_file_size 1M\n")

        def lines_again(begin: int, end: int, step: int = step) -> RecordBatch:
            return batch_of(*[{"n": n, "step": step} for n in range(begin, end)], origin=lines_from(begin, end))

        async with running(options) as one:
            one.put(lines_again(0, 2))
            await one.until(lambda: one.buffer.statistics().records == 0)
        async with running(options, disk=disk) as one:
            disk.fail_after(step - 1)
            one.put(lines_again(0, 3))
            await one.until(lambda: one.dispatcher.held()[0] == 3)
            await one.drain()
        lines = [line for line in s3.lines() if f'"step":{step}}}' in line]

        assert len(lines) == 3
        if not disk.failed:
            break
    else:
        pytest.fail("the disk failed at every step")


class Silent:
    """A service that gives no answer."""

    def __init__(self, *, timed_out: bool) -> None:
        self.calls = 0
        self._timed_out = timed_out

    async def call(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        raise NoAnswer("nothing came", timed_out=self._timed_out)

    def forget_credentials(self) -> None:
        """There are none."""


@pytest.mark.parametrize(("timed_out", "calls"), [(False, 2), (True, 1)])
async def test_a_call_is_made_again_at_once_unless_its_whole_time_went_by(
    tmp_path: Path, timed_out: bool, calls: int
) -> None:
    spool = Spool(tmp_path, new_name(0), Sheet(key="k", tag="t", first_ns=0, is_unique=True), SystemDisk())
    spool.append(b"{}\n")
    spool.close()
    service, log = Silent(timed_out=timed_out), Log("")
    bucket = Bucket("b", service, ManualClock(), log, {}, send_md5=False)
    sender = Sender(bucket, log, lambda spool: spool.part(spool.sheet.pieces[0]), lambda: None, resend_at_once=True)

    with pytest.raises(NoReply):
        await sender.advance(spool)

    assert service.calls == calls


async def test_a_service_without_conditions_is_asked_whether_the_key_is_free(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, "total_file_size 1M\ns3_key_format /fixed\nstatic_file_path on\n")
    for number in range(2):
        s3.fail("PutObject", Fault(501, b"<Error><Code>NotImplemented</Code></Error>"))
        async with running(options) as one:
            one.put(batch_of({"n": number}))
            await one.drain()

    assert s3.operations().count("HeadObject") == 2
    assert '"n":0' in s3.objects["fixed"].text
    assert numbers(s3) == [0, 1]


async def test_an_object_whose_fate_cannot_be_found_out_is_sent_under_another_key_and_counted(
    s3: SmallS3, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It got there without an answer, and nobody may look whether what is there now is it."""
    s3.fail("PutObject", Fault(done=True, cut=True))
    s3.fail("HeadObject", Fault(403, b""))
    options = options_of(s3.url, tmp_path, f"{PUT}s3_key_format /fixed\nstatic_file_path on\n")
    async with running(options) as one:
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.count("proc_records_total") == 1)

        assert one.count("in_doubt_objects_total") == 1
    first, second = sorted(s3.objects)
    assert first == "fixed"
    assert second.startswith("fixed-object")
    assert numbers(s3) == [1, 1]
    assert "an object may have been sent twice, it cannot be read" in caplog.text


async def test_an_object_that_can_be_looked_at_is_not_in_doubt(s3: SmallS3, tmp_path: Path) -> None:
    s3.fail("PutObject", Fault(done=True, cut=True))
    options = options_of(s3.url, tmp_path, f"{PUT}s3_key_format /fixed\nstatic_file_path on\n")
    async with running(options) as one:
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.count("proc_records_total") == 1)

        assert one.count("in_doubt_objects_total") == 0
    assert list(s3.objects) == ["fixed"]
