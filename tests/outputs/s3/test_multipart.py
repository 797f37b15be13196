"""Large objects: parts, and what may go wrong with them."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from pathlib import Path

import pytest

from shipper.outputs.s3 import output as module
from shipper.record import RecordBatch

from .making import batch_of, lines_from, options_of, running
from .server import Fault, SmallS3

pytestmark = pytest.mark.usefixtures("aws_keys")

INTERNAL = b"<?xml version='1.0'?>\n<Error><Code>InternalError</Code><Message>try again</Message></Error>"


def large(number: int, size: int = 2_000_000) -> RecordBatch:
    """One record of random digits, which compress to a little less than half."""
    text = f"{random.Random(number).getrandbits(size * 4):x}"
    place = lines_from(number, number + 1)
    return batch_of({"n": number, "pad": text[:size]}, time_ns=1_700_000_000_000_000_000 + number, origin=place)


def numbers(s3: SmallS3) -> list[int]:
    return sorted(int(found) for found in re.findall(r'"n":(\d+)', "\n".join(s3.lines())))


async def test_an_object_goes_in_parts_as_it_grows(s3: SmallS3, tmp_path: Path) -> None:
    lines = (
        "total_file_size 14M\nupload_chunk_size 6M\nupload_timeout 12s\nsend_content_md5 on\n"
        "content_type application/json\ncanned_acl private\nstorage_class STANDARD_IA\n"
        "s3_key_format /a/$TAG/$TAG[0]/$TAG[1]/%Y-$UUID-$INDEX.json"
    )
    async with running(options_of(s3.url, tmp_path, lines)) as one:
        for number in range(9):
            batch = large(number, 2_100_000)
            batch.tag = "my.tag"
            one.put(batch)
            await one.until(lambda: one.buffer.statistics().records == 0)
        await one.drain()

    first, *rest = s3.calls
    assert first.operation == "CreateMultipartUpload"
    assert re.fullmatch(r"a/my\.tag/my/tag/2023-[0-9A-Za-z]{8}-0\.json", first.key)
    wanted = {"content-type": "application/json", "x-amz-acl": "private", "x-amz-storage-class": "STANDARD_IA"}
    assert {name: first.headers.get(name) for name in wanted} == wanted
    parts = [call for call in rest if call.operation == "UploadPart"]
    sizes = [len(part.body) for part in parts]
    assert [round(size / 100_000) for size in sizes] == [63, 63, 21]
    assert all(p.headers["content-md5"] == base64.b64encode(hashlib.md5(p.body).digest()).decode() for p in parts)
    assert not any("content-type" in part.headers for part in parts)
    complete = next(call for call in rest if call.operation == "CompleteMultipartUpload")
    etags = "".join(
        f"<Part><ETag>{hashlib.md5(part.body).hexdigest()}</ETag><PartNumber>{number}</PartNumber></Part>"
        for number, part in enumerate(parts, 1)
    )
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    assert complete.body.decode() == f'<CompleteMultipartUpload xmlns="{space}">{etags}</CompleteMultipartUpload>'
    assert rest[-1].operation == "PutObject"
    assert rest[-1].key.endswith("-1.json")
    assert numbers(s3) == list(range(9))
    assert s3.uploads == {}


async def send(s3: SmallS3, folder: Path, count: int = 6, lines: str = "") -> None:
    options = options_of(s3.url, folder, f"total_file_size 50M\nupload_timeout 1m\n{lines}")
    async with running(options) as one:
        for number in range(count):
            one.put(large(number))
            await one.until(lambda: one.buffer.statistics().records == 0)
        await one.drain()


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "snappy"])
async def test_parts_together_are_one_file(s3: SmallS3, tmp_path: Path, compression: str) -> None:
    await send(s3, tmp_path, 14, f"compression {compression}")

    [stored] = s3.objects.values()
    assert stored.parts >= 2
    assert stored.headers.get("content-encoding", "none") == compression
    assert numbers(s3) == list(range(14))


async def test_an_object_ends_when_it_has_as_many_parts_as_it_may(
    s3: SmallS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_PIECES", 1)  # one more comes with the end of the object
    await send(s3, tmp_path, 8)

    assert [stored.parts for stored in s3.objects.values()] == [2, 2]
    assert numbers(s3) == list(range(8))


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        ("CompleteMultipartUpload", Fault(200, INTERNAL)),
        ("CompleteMultipartUpload", Fault(200, b"  \n  ")),
        ("CompleteMultipartUpload", Fault(done=True, cut=True)),
        ("CompleteMultipartUpload", Fault(done=True, status=500)),
        ("CompleteMultipartUpload", Fault(cut=True)),
        ("CompleteMultipartUpload", Fault(404, b"<Error><Code>NoSuchUpload</Code></Error>")),
        ("CreateMultipartUpload", Fault()),
        ("CreateMultipartUpload", Fault(done=True, cut=True)),
        ("CreateMultipartUpload", Fault(200, b"")),
        ("UploadPart", Fault()),
        ("UploadPart", Fault(done=True, cut=True)),
        ("UploadPart", Fault(403, b"<Error><Code>AccessDenied</Code></Error>")),
        ("UploadPart", Fault(404, b"<Error><Code>NoSuchUpload</Code></Error>")),
    ],
)
async def test_one_object_arrives_whatever_fails_once_or_twice(
    s3: SmallS3, tmp_path: Path, operation: str, fault: Fault
) -> None:
    s3.fail(operation, fault, fault)

    await send(s3, tmp_path)

    assert len(s3.objects) == 1
    assert numbers(s3) == list(range(6))


async def test_no_upload_stays_open_when_a_creation_had_no_answer(s3: SmallS3, tmp_path: Path) -> None:
    s3.fail("CreateMultipartUpload", Fault(done=True, cut=True), Fault(done=True, cut=True))

    await send(s3, tmp_path)

    assert s3.uploads == {}


async def test_an_upload_stays_off_an_object_that_exists(s3: SmallS3, tmp_path: Path) -> None:
    lines = "s3_key_format /fixed\nstatic_file_path on"
    await send(s3, tmp_path, lines=lines)
    first = s3.objects["fixed"].data
    await send(s3, tmp_path, lines=lines)

    assert s3.objects["fixed"].data == first
    assert len(s3.objects) == 2
    assert s3.uploads == {}
