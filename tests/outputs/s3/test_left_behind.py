"""What Fluent Bit has left in the store_dir is sent, and what of it cannot be read is kept."""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from shipper.disk import SystemDisk
from shipper.errors import OptionError
from shipper.outputs.s3.left_behind import Unreadable, read_chunk, time_of
from shipper.outputs.s3.left_uploads import LeftUpload, read_upload
from shipper.outputs.s3.options import S3Options
from shipper.testing import DiskCrash, FaultKind, FaultyDisk
from tests.written_options import options_from

from .making import Running, batch_of, options_of, running
from .server import Fault, SmallS3, Stored, _Upload

pytestmark = pytest.mark.usefixtures("aws_keys")

PUT = "total_file_size 1M\nstatic_file_path on\n"
KEYED = f"{PUT}s3_key_format /$TAG/%Y/%m/%d/%H\n"
STARTED, UPLOADS = "2026-11-20T10:00:00", "multipart_upload_metadata"
LINE = b'{"date":"2023-11-14T22:13:20.001000Z","n":%d}\n'


def chunk(metadata: bytes, content: bytes, length: int | None = None, zeros: int = 0) -> bytes:
    """A chunk file; a length of 0 is that of old versions."""
    told = len(content) if length is None else length
    return struct.pack(">2sI4xI8xH", b"\xc1\x00", 0, told, len(metadata)) + metadata + content + b"\0" * zeros


def leave(store: Path, name: str, data: bytes, folder: str = STARTED) -> Path:
    path = store / "b" / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def kept(store: Path) -> list[str]:
    """The files that are left in all folders, but for what always is there."""
    usual = ("lock", "counters.json")
    return sorted(p.name for p in store.rglob("*") if p.is_file() and p.name not in usual)


async def sent(s3: SmallS3, store: Path, lines: str = KEYED, objects: int = 1, others: int = 0) -> dict[str, str]:
    """The objects that a start brings about, by their keys; `others` are files that are not to be taken."""

    def is_over() -> bool:
        taken = [p for p in store.rglob("*") if p.suffix in (".left", ".upload") and p.parent.name != "quarantine"]
        untaken = [p for folder in (STARTED, UPLOADS) for p in (store / "b" / folder).glob("*")]
        return not taken and len(untaken) == others and len(s3.objects) >= objects

    async with running(options_of(s3.url, store, lines)) as one:
        await one.until(is_over)
        await one.drain()
    return {key: found.text for key, found in s3.objects.items()}


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("folder", [STARTED, "2026-11-20T10-00-00", "quarantine"])
async def test_lines_are_sent_under_the_time_of_their_first_record(
    s3: SmallS3, tmp_path: Path, folder: str, compression: str
) -> None:
    text = LINE % 1 + b'{"date":"2024-01-01T00:00:00Z","n":2}\n'
    leave(tmp_path, "193-44", chunk(b"app.web", text, zeros=4000), folder)

    assert await sent(s3, tmp_path, f"{KEYED}compression {compression}") == {"app.web/2023/11/14/22": text.decode()}
    assert kept(tmp_path) == []


@pytest.mark.parametrize(("size", "length"), [(0, None), (3000, None), (3_000_000, None), (3_000_000, 0), (10, 0)])
async def test_files_of_all_sizes_and_versions_are_read_whole(
    s3: SmallS3, tmp_path: Path, size: int, length: int | None
) -> None:
    text = b"".join(LINE % n for n in range(size // 40 + 1))
    leave(tmp_path, "1-2", chunk(b"t", text, length, zeros=2_500_000))

    assert await sent(s3, tmp_path) == {"t/2023/11/14/22": text.decode()}


async def test_each_tag_and_file_has_an_object(s3: SmallS3, tmp_path: Path) -> None:
    for number, tag in enumerate((b"a", b"b", b"a")):
        leave(tmp_path, f"{number}-0", chunk(tag, LINE % number))
    found = await sent(s3, tmp_path, f"{PUT}s3_key_format /$TAG/$INDEX", objects=3)

    assert sorted(found) == ["a/0", "a/1", "b/0"]
    assert sorted("".join(found.values()).splitlines()) == [(LINE % n).decode().strip() for n in range(3)]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("match a.*", ["a.x", "a.y.z"]),
        ("match *", ["a.x", "a.y.z", "ab", "b"]),
        ("match a.*.z", ["a.y.z"]),
        ("match b", ["b"]),
        ("match_regex ^a[.]", ["a.x", "a.y.z"]),
        ("match b\nmatch_regex ^ab", ["ab", "b"]),
        ("tls off", ["a.x", "a.y.z", "ab", "b"]),
        ("match_regex x?", []),
    ],
)
def test_an_output_wants_the_tags_that_are_routed_to_it(lines: str, wanted: list[str]) -> None:
    wants = options_from(S3Options, f"bucket b\n{lines}", "output").wants()

    assert [tag for tag in ("a.x", "a.y.z", "ab", "b") if wants(tag)] == wanted


async def test_lines_of_other_outputs_are_left_to_them(s3: SmallS3, tmp_path: Path) -> None:
    leave(tmp_path, "1-1", chunk(b"mine.a", LINE % 1))
    other = leave(tmp_path, "2-2", chunk(b"other.a", LINE % 2))
    found = await sent(s3, tmp_path, f"{KEYED}match mine.*", others=1)

    assert list(found) == ["mine.a/2023/11/14/22"]
    assert other.exists()


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 4096, b"no chunk file at all, but text", chunk(b"", b"x\n"), chunk(b"t", b"")[:20]]
)
async def test_what_cannot_be_read_is_put_aside_and_the_rest_goes_on(s3: SmallS3, tmp_path: Path, data: bytes) -> None:
    leave(tmp_path, "1-1", data)
    leave(tmp_path, "2-2", chunk(b"t", LINE % 2))
    found = await sent(s3, tmp_path)

    [aside] = tmp_path.rglob("unreadable-*")
    assert list(found) == ["t/2023/11/14/22"]
    assert aside.read_bytes() == data
    assert aside.name.startswith(f"unreadable-{STARTED}-1-1-")
    assert aside.parent.name == "quarantine"


async def test_of_a_file_that_was_cut_whole_lines_are_sent_and_the_file_is_kept(s3: SmallS3, tmp_path: Path) -> None:
    data = chunk(b"t", LINE % 1 + LINE % 2 + b'{"date":"2023', length=500)
    leave(tmp_path, "1-1", data)
    found = await sent(s3, tmp_path)

    [aside] = tmp_path.rglob("cut-*")
    assert found == {"t/2023/11/14/22": (LINE % 1 + LINE % 2).decode()}
    assert aside.read_bytes() == data


async def test_a_file_without_one_whole_line_is_kept(s3: SmallS3, tmp_path: Path) -> None:
    leave(tmp_path, "1-1", chunk(b"t", b"half a line"))
    await sent(s3, tmp_path, objects=0)

    assert s3.objects == {}
    assert [name.split("-")[0] for name in kept(tmp_path)] == ["cut"]


async def test_an_empty_file_goes(s3: SmallS3, tmp_path: Path) -> None:
    leave(tmp_path, "1-1", chunk(b"t", b"", zeros=4000))
    await sent(s3, tmp_path, objects=0)

    assert (s3.objects, kept(tmp_path)) == ({}, [])


@pytest.mark.parametrize("line", [b"plain text", b'{"a":' * 5000 + b"1" + b"}" * 5000], ids=["text", "deep"])
async def test_lines_that_are_no_objects_cannot_be_parquet_and_are_kept(
    s3: SmallS3, tmp_path: Path, line: bytes
) -> None:
    pytest.importorskip("pyarrow")
    leave(tmp_path, "1-1", chunk(b"t", LINE % 1 + line + b"\n"))
    leave(tmp_path, "2-2", chunk(b"u", LINE % 2))
    async with running(options_of(s3.url, tmp_path, f"{KEYED}format parquet")) as one:
        await one.until(lambda: bool(s3.objects))
        await one.drain()

    assert list(s3.objects) == ["u/2023/11/14/22"]
    assert s3.objects["u/2023/11/14/22"].data[:4] == b"PAR1"
    assert [name.split("-")[0] for name in kept(tmp_path)] == ["unreadable"]


@pytest.mark.parametrize(
    ("line", "date_key", "expected"),
    [
        (b'{"date":"2023-11-14T22:13:20.001000Z"}', "date", 1_700_000_000_001_000_000),
        (b'{"t":"2023-11-14 22:13:20.001000"}', "t", 1_700_000_000_001_000_000),
        (b'{"date":1700000000.5,"x":1}', "date", 1_700_000_000_500_000_000),
        (b'{"date":1700000000}', None, 1_700_000_000_000_000_000),
        (b'{"date":1700000000001}', "date", 1_700_000_000_001_000_000),
        (b'{"date":"yesterday"}', "date", None),
        (b'{"date":true}', "date", None),
        (b'{"date":-1}', "date", None),
        (b'{"other":1}', "date", None),
        (b"text", "date", None),
        (b"[1]", "date", None),
        (b'{"date":"\xff"}', "date", None),
        (b'{"date":' * 5000, "date", None),
    ],
)
def test_the_time_of_a_line_is_the_one_it_shows(line: bytes, date_key: str | None, expected: int | None) -> None:
    assert time_of(line, date_key) == expected


async def test_lines_without_a_time_have_that_of_their_file(s3: SmallS3, tmp_path: Path) -> None:
    path = leave(tmp_path, "1-1", chunk(b"t", b"plain text\n"))
    os.utime(path, (1_600_000_000, 1_600_000_000))

    assert await sent(s3, tmp_path, f"{KEYED}log_key log") == {"t/2020/09/13/12": "plain text\n"}


STEPS = ("pread", "open", "stat", "fstat", "write", "rename", "unlink")


async def taken_over_on(disk: FaultyDisk, s3: SmallS3, store: Path) -> None:
    """A start that gets as far as the disk lets it."""
    one = Running(options_of(s3.url, store, KEYED), disk=disk)
    output = one.output
    with suppress(OptionError, OSError, DiskCrash):
        await one.output.open()
        output._taking_over.claim(output._store.folder)
        for path in output._taking_over._files:
            await output._taking_over._left.adopt(path, output._new_sheet, "date")
    await one.die()


@pytest.mark.parametrize("kind", ["error", "short", "crash"])
async def test_a_disk_that_fails_at_any_step_costs_and_repeats_nothing(
    s3: SmallS3, tmp_path: Path, kind: FaultKind
) -> None:
    steps, has_failed = 0, True
    while has_failed:
        steps += 1
        store = tmp_path / str(steps)
        leave(store, "1-1", chunk(b"t", LINE % 1 + LINE % 2))
        s3.objects.clear()
        disk = FaultyDisk(steps, STEPS, kind=kind)
        await taken_over_on(disk, s3, store)
        has_failed = disk.failed

        assert await sent(s3, store) == {"t/2023/11/14/22": (LINE % 1 + LINE % 2).decode()}
    assert steps > 10


# -- uploads ---------------------------------------------------------------------------------------------------------

PARTS = b'part_number=1\tetag=aaa\npart_number=2\tetag="bbb"\n'


@pytest.mark.parametrize(
    ("metadata", "content", "expected"),
    [
        (b"/k/a b\nid+1", PARTS, LeftUpload("k/a b", "id+1", ("aaa", "bbb"))),
        (b"/k\nid", b"", LeftUpload("k", "id", ())),
        (b"/k\nid", b"part_number=2\tetag=b\npart_number=1\tetag=a\n", LeftUpload("k", "id", ("a", "b"))),
        (b"/k", PARTS, None),
        (b"/\nid", PARTS, None),
        (b"/k\n", PARTS, None),
        (b"/k\nid", b"part_number=1\tetag=a\npart_number=3\tetag=c\n", None),
        (b"/k\nid", b"part_number=x\tetag=a\n", None),
        (b"/k\nid", b"part_number=1\n", None),
    ],
)
def test_what_is_noted_of_an_upload(
    tmp_path: Path, metadata: bytes, content: bytes, expected: LeftUpload | None
) -> None:
    path = tmp_path / "u"
    path.write_bytes(chunk(metadata, content, zeros=100))
    if expected is None:
        with pytest.raises(Unreadable):
            read_upload(SystemDisk(), path)
    else:
        assert read_upload(SystemDisk(), path) == expected


def test_parts_that_are_missing_at_the_end_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "u"
    path.write_bytes(chunk(b"/k\nid", PARTS, length=len(PARTS) + 30))

    assert read_chunk(SystemDisk(), path).missing == 30
    with pytest.raises(Unreadable, match="all parts"):
        read_upload(SystemDisk(), path)


def begun(s3: SmallS3, parts: int) -> None:
    s3.uploads["up"] = _Upload("k", {}, {n: b"x" * 6_000_000 for n in range(1, parts + 1)})


async def test_an_upload_is_completed_with_its_parts_as_soon_as_that_goes(s3: SmallS3, tmp_path: Path) -> None:
    begun(s3, 2)
    s3.fail("CompleteMultipartUpload", Fault(), Fault(cut=True))
    leave(tmp_path, "1-1", chunk(b"/k\nup", PARTS), UPLOADS)
    one = Running(options_of(s3.url, tmp_path, KEYED))
    one.output._taking_over._backoff.wait = lambda failures, wish=0.0: 0.01  # type: ignore[method-assign]
    await one.start()
    await one.until(lambda: not kept(tmp_path))
    await one.drain()

    assert s3.objects["k"].parts == 2
    assert s3.uploads == {}


async def test_an_upload_that_is_complete_already_is_done(s3: SmallS3, tmp_path: Path) -> None:
    begun(s3, 2)
    s3.fail("CompleteMultipartUpload", Fault(done=True, cut=True))
    leave(tmp_path, "1-1", chunk(b"/k\nup", PARTS), UPLOADS)
    one = Running(options_of(s3.url, tmp_path, KEYED))
    one.output._taking_over._backoff.wait = lambda failures, wish=0.0: 0.01  # type: ignore[method-assign]
    await one.start()
    await one.until(lambda: not kept(tmp_path))
    await one.drain()

    assert list(s3.objects) == ["k"]


def other_object(parts: int = 0) -> Stored:
    """An object that somebody else has put there."""
    return Stored(b"other\n", {}, "0" * 32 + (f"-{parts}" if parts else ""), parts)


NO_CONDITIONS = Fault(501, b"<Error><Code>NotImplemented</Code></Error>")


@pytest.mark.parametrize("faults", [[], [NO_CONDITIONS]], ids=["conditions", "no conditions"])
async def test_an_upload_writes_over_no_object_of_its_key(s3: SmallS3, tmp_path: Path, faults: list[Fault]) -> None:
    begun(s3, 2)
    s3.objects["k"] = other_object()
    s3.fail("CompleteMultipartUpload", *faults)
    path = leave(tmp_path, "1-1", chunk(b"/k\nup", PARTS), UPLOADS)
    data = path.read_bytes()
    await sent(s3, tmp_path)

    [aside] = tmp_path.rglob("taken-*")
    assert aside.read_bytes() == data
    assert s3.objects["k"].data == b"other\n"
    assert list(s3.uploads) == ["up"]


async def test_an_upload_is_completed_where_no_conditions_are_known(s3: SmallS3, tmp_path: Path) -> None:
    begun(s3, 2)
    s3.fail("CompleteMultipartUpload", NO_CONDITIONS)
    leave(tmp_path, "1-1", chunk(b"/k\nup", PARTS), UPLOADS)
    await sent(s3, tmp_path)

    assert s3.objects["k"].parts == 2
    assert (s3.uploads, kept(tmp_path)) == ({}, [])


@pytest.mark.parametrize(
    ("etags", "other"),
    [(("aaa", "bbb"), other_object()), (("aaa", "bbb"), other_object(3)), (("a" * 32, "b" * 32), other_object(2))],
    ids=["put in one go", "of other parts", "of as many parts"],
)
async def test_an_object_of_another_is_not_taken_for_an_upload_that_is_gone(
    s3: SmallS3, tmp_path: Path, etags: tuple[str, str], other: Stored
) -> None:
    s3.objects["k"] = other
    parts = "".join(f"part_number={number}\tetag={etag}\n" for number, etag in enumerate(etags, 1)).encode()
    leave(tmp_path, "1-1", chunk(b"/k\nup", parts), UPLOADS)
    await sent(s3, tmp_path)

    assert [name.split("-")[0] for name in kept(tmp_path)] == ["gone"]
    assert s3.objects == {"k": other}


async def test_an_upload_that_is_gone_is_told_and_its_file_kept(s3: SmallS3, tmp_path: Path) -> None:
    leave(tmp_path, "1-1", chunk(b"/k\nup", PARTS), UPLOADS)
    leave(tmp_path, "2-2", chunk(b"no name", PARTS), UPLOADS)
    await sent(s3, tmp_path, objects=0)

    assert s3.objects == {}
    assert sorted(name.split("-")[0] for name in kept(tmp_path)) == ["gone", "unreadable"]


async def test_an_upload_without_a_part_is_aborted(s3: SmallS3, tmp_path: Path) -> None:
    begun(s3, 0)
    leave(tmp_path, "1-1", chunk(b"/k\nup", b""), UPLOADS)
    await sent(s3, tmp_path, objects=0)

    assert (s3.uploads, kept(tmp_path)) == ({}, [])


# -- modes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", "json_date_key false\n", "format parquet\n"])
async def test_nobody_else_can_read_what_is_stored(s3: SmallS3, tmp_path: Path, more: str) -> None:
    if "parquet" in more:
        pytest.importorskip("pyarrow")
    s3.fail("PutObject", *[Fault()] * 50)
    async with running(options_of(s3.url, tmp_path, f"{PUT}s3_key_format /$INDEX\n{more}")) as one:
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.buffer.statistics().records == 0)
        one.output.flush()
        await one.until(lambda: bool(s3.calls))
        modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}

    assert set(modes) >= {".data", ".json", ""} | ({".made"} if "parquet" in more else set())
    assert set(modes.values()) == {0o600}
