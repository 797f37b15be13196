"""A process dies, another one begins: nothing is missing, nothing is there twice, nothing is written over."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import msgspec
import pytest

from shipper.disk import SystemDisk
from shipper.outputs.s3.content import Lines
from shipper.outputs.s3.options import S3Options
from shipper.outputs.s3.recovery import adopt, identities_in
from shipper.outputs.s3.spool import NOTE, Sheet, Spool, new_name
from shipper.record import Receipt, Record, RecordBatch

from .making import T0, Running, batch_of, lines_from, options_of, running
from .server import Fault, SmallS3
from .test_multipart import large, numbers

pytestmark = pytest.mark.usefixtures("aws_keys")

PUT = "total_file_size 1M\nupload_timeout 1m\n"
FIXED = f"{PUT}s3_key_format /%Y/%m/%d\nstatic_file_path on\n"
GONE = Fault(cut=True)


def batches(begin: int, end: int) -> list[RecordBatch]:
    return [
        batch_of({"n": n}, {"n": n, "second": True}, time_ns=T0 + n * 1_000_000_000, origin=lines_from(n, n + 1))
        for n in range(begin, end)
    ]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "snappy"])
@pytest.mark.parametrize("more", ["", "json_date_key false\n", "log_key n\n"])
async def test_what_is_read_again_after_a_kill_is_there_once(
    s3: SmallS3, tmp_path: Path, compression: str, more: str
) -> None:
    options = options_of(s3.url, tmp_path, f"{FIXED}{more}compression {compression}")
    async with running(options) as one:
        one.put(*batches(0, 5))
        await one.until(lambda: one.buffer.statistics().records == 0)
    again = batches(0, 7)
    async with running(options) as one:
        one.put(*again)
        await one.drain()

        assert one.count("proc_records_total") == 14
    assert all(batch.receipt.is_settled for batch in again)
    assert sorted(s3.objects)[0] == "2023/11/14"
    found = s3.lines()
    assert len(found) == 14
    assert len(set(found)) == (14 if not more.startswith("log_key") else 7)


async def test_what_is_not_read_again_is_there_once_under_its_own_key(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, FIXED)
    async with running(options) as one:
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.buffer.statistics().records == 0)
    async with running(options) as one:
        await one.until(lambda: bool(s3.objects))

    assert list(s3.objects) == ["2023/11/14"]
    assert len(s3.lines()) == 1


async def test_an_object_whose_answer_was_lost_is_there_once(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, f"{FIXED}auto_retry_requests off\n")
    s3.fail("PutObject", Fault(done=True, cut=True))
    async with running(options) as one:
        one.put(*batches(0, 3))
        await one.until(lambda: one.buffer.statistics().records == 0)
        one.output.flush()
        await one.until(lambda: bool(s3.objects))
    async with running(options) as one:
        one.put(*batches(0, 3))
        await one.drain()

    assert list(s3.objects) == ["2023/11/14"]
    assert len(s3.lines()) == 6


async def test_a_kill_between_the_object_and_the_position_repeats_nothing(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, PUT)
    async with running(options) as one:
        one.put(*batches(0, 3))
        await one.until(lambda: one.buffer.statistics().records == 0)
        one.output.flush()
        await one.until(lambda: one.count("proc_records_total") == 6)
    assert list(tmp_path.rglob("*.data"))
    async with running(options) as one:
        one.put(*batches(0, 3))
        await one.until(lambda: one.count("proc_records_total") == 6)
        await one.until(lambda: not list(tmp_path.rglob("*.data")))

    assert len(s3.objects) == 1


async def test_a_second_kill_before_all_was_read_again_repeats_nothing(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, PUT)
    async with running(options) as one:
        one.put(*batches(0, 5))
        await one.until(lambda: one.buffer.statistics().records == 0)
    async with running(options) as one:
        one.put(*batches(0, 2))
        await one.until(lambda: one.count("proc_records_total") == 4)
        await one.drain()
    async with running(options) as one:
        one.put(*batches(2, 7))
        await one.drain()

    assert numbers(s3) == [n for n in range(7) for _ in range(2)]


async def test_a_kill_before_the_first_byte_leaves_nothing(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, PUT)
    async with running(options) as one:
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.buffer.statistics().records == 0)
    [data] = tmp_path.rglob("*.data")
    data.unlink()
    async with running(options) as one:
        one.put(batch_of({"n": 1}))
        await one.drain()

    assert numbers(s3) == [1]
    assert not list(tmp_path.rglob("*.json"))


def noted_parts(one: Running) -> int:
    """How many parts the output knows to be in S3."""
    uploads = one.output._uploads
    return sum(bool(p.etag) for u in uploads._waiting for p in u.spool.sheet.pieces) if uploads else 0


def equal(begin: int, end: int, *, tells_origin: bool = True) -> RecordBatch:
    """Lines of a file that are equal, and of one time."""
    batch = batch_of(*[{"n": 1}] * (end - begin), origin=lines_from(begin, end) if tells_origin else None)
    batch.records = [Record(T0, record.body) for record in batch.records]
    return batch


async def stored_and_killed(options: S3Options, *puts: RecordBatch) -> None:
    """All of it is in S3 and settled; then the process dies, before what it has on disk is removed."""
    async with running(options) as one:
        one.put(*puts)
        await one.until(lambda: one.buffer.statistics().records == 0)
        one.output.flush()
        await one.until(lambda: one.count("proc_records_total") == sum(map(len, puts)))


@pytest.mark.parametrize("more", ["", "log_key n\n"])
@pytest.mark.parametrize("begin", [0, 3, 6])
async def test_of_equal_lines_every_one_is_stored_from_wherever_they_are_read_again(
    s3: SmallS3, tmp_path: Path, begin: int, more: str
) -> None:
    """Six lines were stored, and eight are there; the position that was saved is that of the first batch, or more."""
    options = options_of(s3.url, tmp_path, f"{PUT}{more}")
    await stored_and_killed(options, equal(0, 3), equal(3, 6))
    async with running(options) as one:
        one.put(equal(begin, 8))
        await one.drain()

    assert len(s3.lines()) == 8


async def test_a_second_kill_makes_no_new_line_look_like_one_that_was_stored(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, PUT)
    await stored_and_killed(options, equal(0, 3))
    await stored_and_killed(options, equal(0, 3), equal(3, 5))
    async with running(options) as one:
        one.put(equal(5, 8))
        await one.drain()

    assert len(s3.lines()) == 8


async def test_a_record_that_comes_once_only_is_stored_however_often_its_line_is(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, PUT)
    async with running(options) as one:
        one.put(equal(0, 3, tells_origin=False))
        await one.until(lambda: one.buffer.statistics().records == 0)
    async with running(options) as one:
        one.put(equal(0, 3, tells_origin=False))
        await one.drain()

    assert len(s3.lines()) == 6


@pytest.mark.parametrize(("is_done", "lines"), [(False, 3), (True, 6)])
async def test_what_somebody_keeps_is_recognised_unless_it_may_have_been_settled(
    s3: SmallS3, tmp_path: Path, is_done: bool, lines: int
) -> None:
    def kept() -> RecordBatch:
        batch = equal(0, 3, tells_origin=False)
        batch.receipt = Receipt(lambda: None)
        return batch

    options = options_of(s3.url, tmp_path, PUT)
    async with running(options) as one:
        one.put(kept())
        await one.until(lambda: one.buffer.statistics().records == 0)
        if is_done:
            one.output.flush()
            await one.until(lambda: one.count("proc_records_total") == 3)
    async with running(options) as one:
        one.put(kept())
        await one.drain()

    assert len(s3.lines()) == lines


async def test_where_records_come_from_may_be_damaged(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, PUT)
    async with running(options) as one:
        one.put(*batches(0, 3))
        await one.until(lambda: one.buffer.statistics().records == 0)
    [noted] = tmp_path.rglob("*.from")
    noted.write_bytes(noted.read_bytes()[:-3])
    async with running(options) as one:
        one.put(*batches(0, 3))
        await one.drain()

    assert numbers(s3) == [0, 0, 1, 1, 2, 2, 2, 2]


async def test_an_upload_goes_on_behind_its_parts(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, "total_file_size 50M\nupload_timeout 1m\n")
    async with running(options) as one:
        for number in range(8):
            one.put(large(number))
            await one.until(lambda: one.buffer.statistics().records == 0)
        await one.until(lambda: s3.operations().count("UploadPart") == 2 and noted_parts(one) == 2)
    sent = s3.operations()
    async with running(options) as one:
        one.put(*(large(number) for number in range(8)))
        await one.drain()

    assert "CompleteMultipartUpload" not in sent
    assert s3.operations()[len(sent) :] == ["UploadPart", "CompleteMultipartUpload"]
    [stored] = s3.objects.values()
    assert stored.parts == 3
    assert numbers(s3) == list(range(8))
    assert s3.uploads == {}


async def test_an_upload_without_its_data_is_aborted(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, "total_file_size 50M\nupload_timeout 1m\n")
    async with running(options) as one:
        for number in range(3):
            one.put(large(number))
            await one.until(lambda: one.buffer.statistics().records == 0)
        await one.until(lambda: s3.operations().count("UploadPart") == 1)
    [data] = tmp_path.rglob("*.data")
    data.write_bytes(data.read_bytes()[:3_000_000])
    async with running(options) as one:
        one.put(*(large(number) for number in range(3)))
        await one.drain()

    assert s3.uploads == {}
    assert numbers(s3) == [0, 1, 2]


async def test_what_is_left_of_a_damaged_object_takes_not_the_place_of_the_whole_one(
    s3: SmallS3, tmp_path: Path
) -> None:
    """It got to the bucket, but the answer was lost; then the disk lost the second half of it."""
    options = options_of(s3.url, tmp_path, f"{PUT}auto_retry_requests off\n")
    s3.fail("PutObject", Fault(done=True, cut=True))
    async with running(options) as one:
        one.put(*batches(0, 4))
        await one.until(lambda: one.buffer.statistics().records == 0)
        one.output.flush()
        await one.until(lambda: one.count("upload_failures_total") == 1)
    [(key, whole)] = s3.objects.items()
    [data] = tmp_path.rglob("*.data")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    async with running(options) as one:
        one.put(*batches(0, 4))
        await one.drain()

    assert len(whole.text.splitlines()) == 8
    assert s3.objects[key].data == whole.data
    assert len(s3.objects) > 1


async def test_damaged_files_are_put_aside_and_the_others_go_on(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, PUT)
    async with running(options) as one:
        one.put(batch_of({"n": 1}, tag="a"), batch_of({"n": 2}, tag="b"))
        await one.until(lambda: one.buffer.statistics().records == 0)
    first, _ = sorted(tmp_path.rglob("*.json"))
    first.write_bytes(b"{broken")
    async with running(options) as one:
        await one.until(lambda: len(s3.objects) == 1)
        one.put(batch_of({"n": 3}, tag="c"))
        await one.drain()

    assert numbers(s3) == [2, 3]
    assert [path.name for path in tmp_path.rglob("damaged-*.json")] == [f"damaged-{first.name}"]


async def test_an_output_that_has_another_name_now_leaves_nothing_behind(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, PUT)
    async with running(options) as one:
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.buffer.statistics().records == 0)
    [folder] = [path.parent for path in tmp_path.rglob("*.json")]
    folder.rename(folder.with_name(folder.name.replace("s3_0", "other")))
    async with running(options) as one:
        await one.until(lambda: bool(s3.objects))

    assert numbers(s3) == [1]


async def test_two_processes_do_not_share_a_folder(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, PUT)
    async with running(options) as one, running(options) as other:
        one.put(batch_of({"n": 1}))
        other.put(batch_of({"n": 2}))
        await one.drain()
        await other.drain()

    assert numbers(s3) == [1, 2]


def spool_with(folder: Path, compression: str, lines: list[bytes]) -> Spool:
    sheet = msgspec.convert({"key": "k", "tag": "t", "first_ns": 0, "compression": compression}, Sheet)
    spool = Spool(folder, new_name(0), sheet, SystemDisk())
    spool.save()
    for line in lines:
        spool.append(line)
    return spool


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "snappy"])
def test_a_file_that_was_cut_anywhere_becomes_whole_lines(tmp_path: Path, compression: str) -> None:
    lines = [b"%d first\n%d second\n" % (n, n) for n in range(20)]
    spool = spool_with(tmp_path, compression, lines)
    whole = spool.path(".data").read_bytes()
    sheet = spool.path(".json").read_bytes()
    best = b""

    for end in range(len(whole) + 1):
        spool.path(".data").write_bytes(whole[:end])
        spool.path(".json").write_bytes(sheet)
        found = adopt(tmp_path, spool.name, SystemDisk())
        text = b"".join(found.contents())
        assert b"".join(lines).startswith(text)
        assert text == b"" or text.endswith(b"\n")
        assert len(text) >= len(best)
        assert found.sheet.state == "closed"
        assert found.size == (found.sheet.pieces[-1].end if found.sheet.pieces else 0)
        best = text

    assert best == b"".join(lines)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "snappy"])
def test_a_closed_file_with_other_bytes_than_were_written_is_made_anew(tmp_path: Path, compression: str) -> None:
    lines = [b"%d first\n%d second\n" % (n, n) for n in range(20)]
    spool = spool_with(tmp_path, compression, lines)
    spool.close()
    data = spool.path(".data").read_bytes()
    middle = len(data) // 2
    spool.path(".data").write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    found = adopt(tmp_path, spool.name, SystemDisk())
    hashes = [hashlib.sha256(found.path(".data").read_bytes()).hexdigest()] if found.sheet.pieces else []

    assert [piece.sha256 for piece in found.sheet.pieces] == hashes
    assert hashes != [hashlib.sha256(data).hexdigest()]
    assert b"".join(found.contents()).endswith(b"\n") or not hashes


def undated(folder: Path, compression: str) -> tuple[Spool, list[int]]:
    """An open spool with ten records, some of them with a line feed inside, and their identities."""
    sheet = msgspec.convert({"key": "k", "tag": "t", "first_ns": 0, "compression": compression}, Sheet)
    spool = Spool(folder, new_name(0), sheet, SystemDisk(), has_identities=True)
    spool.save()
    made = Lines(parts=[(b"%d first\nand more" % n if n % 2 else b"%d alone" % n, T0 + n) for n in range(10)])
    spool.append(b"".join(line + b"\n" for line, _ in made.parts or ()), made.notes())
    return spool, made.identities()


def known_of(spool: Spool) -> list[int]:
    found = identities_in(adopt(spool.folder, spool.name, SystemDisk()))
    return [one for one in found if one is not None]


@pytest.mark.parametrize("is_closed", [True, False])
def test_records_without_date_are_known_only_if_their_lines_are_as_they_were(tmp_path: Path, is_closed: bool) -> None:
    spool, wanted = undated(tmp_path, "none")
    if is_closed:
        spool.close()
    data = spool.path(".data").read_bytes()
    spool.path(".data").write_bytes(data.replace(b"4 alone", b"4 ALONE"))

    assert known_of(spool) == [*wanted[:4], *wanted[5:]]


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("kept", [0, 1, 5])
def test_what_is_not_told_of_records_without_date_costs_no_line(
    tmp_path: Path, is_closed: bool, kept: int, compression: str
) -> None:
    spool, wanted = undated(tmp_path, compression)
    if is_closed:
        spool.close()
    else:
        spool.finish_piece()  # what the compressor holds back is lost in a kill
    text = b"".join(spool.contents())
    notes = spool.path(".ids").read_bytes()
    spool.path(".ids").write_bytes(notes[: kept * NOTE.size + 3])

    assert known_of(spool) == wanted[:kept]
    assert b"".join(spool.contents()) == text
    assert text.count(b"alone") == 5


def test_a_note_of_a_wrong_length_costs_no_line(tmp_path: Path) -> None:
    spool, wanted = undated(tmp_path, "none")
    text = spool.path(".data").read_bytes()
    notes = spool.path(".ids").read_bytes()
    broken = 3 * NOTE.size + 8  # the length in the fourth note
    spool.path(".ids").write_bytes(notes[:broken] + b"\x01" + notes[broken + 1 :])

    assert known_of(spool) == wanted[:3]
    assert spool.path(".data").read_bytes() == text


def test_a_record_of_several_lines_that_was_cut_is_left_out(tmp_path: Path) -> None:
    spool, wanted = undated(tmp_path, "none")
    data = spool.path(".data").read_bytes()
    spool.path(".data").write_bytes(data[: data.index(b"7 first") + len(b"7 first\nand")])

    assert known_of(spool) == wanted[:7]
    assert spool.path(".data").read_bytes() == data[: data.index(b"7 first")]


def test_what_was_cut_is_a_whole_gzip_file_again(tmp_path: Path) -> None:
    spool = spool_with(tmp_path, "gzip", [b"a\n", b"b\n"])
    found = adopt(tmp_path, spool.name, SystemDisk())

    assert gzip.decompress(found.path(".data").read_bytes()) == b"a\nb\n"


def test_names_of_spools_sort_by_time_and_come_from_no_tag() -> None:
    names = [new_name(time_ns) for time_ns in (0, 10**18, 2 * 10**18)]

    assert names == sorted(names)
    assert all(re.fullmatch("[0-9a-f]{24}", name) for name in names)
