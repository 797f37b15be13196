"""Multipart uploads that cannot be gone on with are aborted, whatever the reason; nobody pays for their parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.outputs.s3.options import S3Options

from .making import Running, batch_of, options_of, running
from .server import Fault, SmallS3
from .test_multipart import large, numbers

pytestmark = pytest.mark.usefixtures("aws_keys")

LARGE = "total_file_size 50M\nupload_timeout 1m\n"
DELETE = f"{LARGE}retry_limit no_retries\nretry_exhausted_action delete\n"
OVER_LIMIT = f"{LARGE}retry_limit no_retries\nquarantine_dir_limit_size 1K\n"
INTERNAL = Fault(500, b"<Error><Code>InternalError</Code></Error>")
DENIED = Fault(403, b"<Error><Code>AccessDenied</Code></Error>")
NOT_KNOWN = Fault(501, b"<Error><Code>NotImplemented</Code></Error>")


async def fill(one: Running) -> None:
    """Put records of six megabytes, which is one part."""
    for number in range(3):
        one.put(large(number))
        await one.until(lambda: one.buffer.statistics().records == 0)


async def give_up(one: Running, s3: SmallS3, aborts: list[Fault]) -> None:
    """Have an object given up whose part is in S3; `aborts` are what becomes of the attempts to abort its upload."""
    s3.fail("CompleteMultipartUpload", INTERNAL)
    s3.fail("AbortMultipartUpload", *aborts)
    await fill(one)
    one.output._close_all = True
    assert one.output._uploads is not None
    one.output._uploads.wake.set()
    await one.until(lambda: one.dispatcher.held() == (0, 0))


def dropped(one: Running) -> dict[str, int]:
    return one.context.metrics.by_label("output_dropped_records_total", "reason", name="s3.0")


@pytest.mark.parametrize("lines", [DELETE, OVER_LIMIT], ids=["delete", "over the limit of the quarantine"])
@pytest.mark.parametrize("faults", [[], [Fault()], [Fault(cut=True)] * 3, [DENIED] * 2])
async def test_the_upload_of_an_object_that_is_deleted_is_aborted_as_soon_as_that_goes(
    s3: SmallS3, tmp_path: Path, lines: str, faults: list[Fault]
) -> None:
    async with running(options_of(s3.url, tmp_path, lines)) as one:
        one.retry_after(0.01)
        await give_up(one, s3, faults)
        await one.until(lambda: not s3.uploads)
        await one.until(lambda: not list(tmp_path.rglob("*.data")))

        assert dropped(one) == {"no_retries": 3}
        assert one.output.overdue_s() == 0
    assert s3.objects == {}


async def test_an_upload_that_cannot_be_aborted_holds_up_nothing_and_is_aborted_after_the_next_start(
    s3: SmallS3, tmp_path: Path
) -> None:
    options = options_of(s3.url, tmp_path, DELETE)
    async with running(options) as one:
        one.retry_after(1000)
        await give_up(one, s3, [DENIED] * 100)
        await one.until(lambda: "AbortMultipartUpload" in s3.operations())
        left = len(s3.uploads)
        await fill(one)
        await one.drain()
    s3.heal()
    async with running(options) as one:
        await one.until(lambda: not s3.uploads)
        await one.until(lambda: not list(tmp_path.rglob("*.json")))

    assert left == 1
    assert numbers(s3) == [0, 1, 2]


async def killed(s3: SmallS3, options: S3Options) -> Path:
    """The sheet of an object whose upload has one part when the process dies."""
    async with running(options) as one:
        await fill(one)
        await one.until(lambda: s3.operations().count("UploadPart") == 1)
        await one.until(lambda: any(u.spool.sheet.pieces[0].etag for u in one.output._uploads._waiting))  # type: ignore[union-attr]
        [sheet] = one.output._store.folder.glob("*.json")
    return sheet


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"key":"k"}'])
async def test_the_upload_of_a_sheet_that_cannot_be_read_is_aborted(s3: SmallS3, tmp_path: Path, damage: bytes) -> None:
    options = options_of(s3.url, tmp_path, LARGE)
    sheet = await killed(s3, options)
    sheet.write_bytes(damage)
    before = len(s3.uploads)
    async with running(options) as one:
        await one.until(lambda: not s3.uploads)
        await fill(one)
        await one.drain()

    assert before == 1
    assert [path.name for path in tmp_path.rglob("damaged-*.json")] == [f"damaged-{sheet.name}"]
    assert numbers(s3) == [0, 1, 2]
    assert sorted(path.name for path in sheet.parent.glob("*.*")) == []


async def test_an_upload_without_an_answer_whose_sheet_cannot_be_read_is_found_by_its_key(
    s3: SmallS3, tmp_path: Path
) -> None:
    options = options_of(s3.url, tmp_path, f"{LARGE}auto_retry_requests off\n")
    s3.fail("CreateMultipartUpload", Fault(done=True, cut=True))
    async with running(options) as one:
        one.retry_after(1000)
        await fill(one)
        await one.until(lambda: one.count("upload_failures_total") == 1)
        [sheet] = one.output._store.folder.glob("*.json")
    sheet.write_bytes(b"")
    before = len(s3.uploads)
    async with running(options) as one:
        await one.until(lambda: not s3.uploads)

    assert before == 1


@pytest.mark.parametrize("fault", [DENIED, NOT_KNOWN], ids=["denied", "not known"])
async def test_an_upload_whose_data_are_damaged_is_aborted_by_its_id_where_nobody_may_list_uploads(
    s3: SmallS3, tmp_path: Path, fault: Fault
) -> None:
    options = options_of(s3.url, tmp_path, LARGE)
    sheet = await killed(s3, options)
    data = sheet.with_suffix(".data")
    data.write_bytes(data.read_bytes()[:3_000_000])
    s3.fail("ListMultipartUploads", *[fault] * 100)
    async with running(options) as one:
        await fill(one)
        await one.drain()

    assert (numbers(s3), s3.uploads) == ([0, 1, 2], {})


async def test_an_upload_that_may_not_be_aborted_does_not_keep_its_data_from_the_bucket(
    s3: SmallS3, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = options_of(s3.url, tmp_path, LARGE)
    sheet = await killed(s3, options)
    data = sheet.with_suffix(".data")
    data.write_bytes(data.read_bytes()[:3_000_000])
    s3.fail("AbortMultipartUpload", *[DENIED] * 100)
    async with running(options) as one:
        await fill(one)
        await one.drain()

    assert numbers(s3) == [0, 1, 2]
    assert "a multipart upload that cannot be resumed stays open" in caplog.text


async def test_records_of_an_object_that_was_deleted_are_stored_again_when_they_are_read_again(
    s3: SmallS3, tmp_path: Path
) -> None:
    async with running(options_of(s3.url, tmp_path, "total_file_size 1M\nupload_timeout 1m\n")) as one:
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.buffer.statistics().records == 0)
    s3.fail("PutObject", INTERNAL)
    lines = "total_file_size 1M\nupload_timeout 1m\nretry_limit no_retries\nretry_exhausted_action delete\n"
    async with running(options_of(s3.url, tmp_path, lines)) as one:
        await one.until(lambda: one.count("upload_failures_total") == 1)
        await one.until(lambda: not list(tmp_path.rglob("*.data")))
        one.put(batch_of({"n": 1}))
        await one.drain()

    assert numbers(s3) == [1]
