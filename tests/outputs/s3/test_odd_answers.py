"""Answers that no S3 should give, and errors that nobody foresaw: they cost attempts, never an object or its tag."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from .making import Running, batch_of, options_of, running
from .server import Fault, SmallS3
from .test_multipart import large, numbers

pytestmark = pytest.mark.usefixtures("aws_keys")

PUT = "total_file_size 1M\nupload_timeout 0.05\n"
FIXED = f"{PUT}s3_key_format /fixed\nstatic_file_path on\n"
SKEWED = b"<Error><Code>RequestTimeTooSkewed</Code><Message>m</Message></Error>"
LOST = Fault(done=True, cut=True)


@pytest.mark.parametrize(
    "date", ["yesterday", "", "Mon, 32 Foo 2023 25:61:61 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "1", "\xff"]
)
async def test_a_date_that_cannot_be_read_costs_an_attempt(s3: SmallS3, tmp_path: Path, date: str) -> None:
    s3.fail("PutObject", Fault(403, SKEWED, headers={"Date": date}))
    async with running(options_of(s3.url, tmp_path, PUT)) as one:
        one.retry_after(0.01)
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.count("proc_records_total") == 1)

        assert (one.count("upload_failures_total"), one.count("failures_total")) == (1, 0)
    assert numbers(s3) == [1]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(412, b""),
        Fault(304, b""),
        Fault(400, b""),
        Fault(200, b"", headers={"Content-Length": "0"}),
        Fault(200, b"", headers={"ETag": "W/odd"}),
        Fault(501, b""),
    ],
    ids=lambda fault: f"{fault.status}{list(fault.headers)}",
)
async def test_an_odd_answer_to_the_look_at_an_object_whose_answer_was_lost(
    s3: SmallS3, tmp_path: Path, fault: Fault
) -> None:
    """It is in the bucket; should it be there twice, that is counted or it is known to be another's."""
    s3.fail("PutObject", LOST)
    s3.fail("HeadObject", *[fault] * 3)
    async with running(options_of(s3.url, tmp_path, FIXED)) as one:
        one.retry_after(0.01)
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.count("proc_records_total") == 1)

        in_doubt, has_size = one.count("in_doubt_objects_total"), "Content-Length" in fault.headers
        assert numbers(s3) in ([1], [1, 1])
        assert (len(s3.objects) == 1) or in_doubt == 1 or has_size or "ETag" in fault.headers
        assert one.count("failures_total") == 0


@pytest.mark.parametrize("body", [b"", b"<UploadId></UploadId>", b"\xff\xfe<<<>", b"<UploadId>", b"{}"])
async def test_an_odd_answer_to_the_begin_of_an_upload(s3: SmallS3, tmp_path: Path, body: bytes) -> None:
    s3.fail("CreateMultipartUpload", Fault(200, body))
    async with running(options_of(s3.url, tmp_path, "total_file_size 50M\nupload_timeout 1m\n")) as one:
        one.retry_after(0.01)
        for number in range(3):
            one.put(large(number))
            await one.until(lambda: one.buffer.statistics().records == 0)
        await one.drain()

    assert (numbers(s3), s3.uploads) == ([0, 1, 2], {})


async def test_an_error_that_nobody_foresaw_is_told_and_the_object_is_tried_again(
    s3: SmallS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(options_of(s3.url, tmp_path, PUT)) as one:
        one.retry_after(0.01)
        uploads = one.output._uploads
        assert uploads is not None
        advance, bugs = uploads._sender.advance, [KeyError("a bug"), ValueError("another")]

        async def failing(spool: Any) -> bool:
            if bugs:
                raise bugs.pop()
            return await advance(spool)

        monkeypatch.setattr(uploads._sender, "advance", failing)
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.count("proc_records_total") == 1)

        assert (one.count("upload_failures_total"), one.count("failures_total")) == (2, 2)
        assert one.dispatcher.held() == (0, 0)
    assert numbers(s3) == [1]
    assert "an upload failed unexpectedly; it is tried again" in caplog.text


async def test_an_upload_that_was_cut_off_before_its_first_step_is_begun_again(s3: SmallS3, tmp_path: Path) -> None:
    """As when the component is started again after a bug elsewhere in it."""
    options = options_of(s3.url, tmp_path, "total_file_size 1M\nupload_timeout 1m\n")
    async with running(options) as one:
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.buffer.statistics().records == 0)
    one = Running(options)
    await one.output.open()
    uploads = one.output._uploads
    assert uploads is not None
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            uploads.start_ready(tasks)
            raise RuntimeError("a bug")
    assert s3.calls == []
    async with asyncio.TaskGroup() as tasks:
        uploads.start_ready(tasks)
    await one.die()

    assert numbers(s3) == [1]
