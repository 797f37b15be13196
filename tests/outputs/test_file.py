"""file: names, formats, rotation, and what a retry writes."""

from __future__ import annotations

import errno
import gzip
import os
import re
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.buffers.base import Delivery
from shipper.disk import Disk, SystemDisk
from shipper.errors import ConfigError, OptionError, RetryLater
from shipper.outputs.file import FileOptions, FileOutput
from shipper.outputs.file.destination import fixed_folder, name_from_tag
from shipper.record import Body, Record, RecordBatch
from shipper.testing import FaultyDisk, ManualClock, batch_of, context_of

from ..written_options import options_from
from .samples import F1, S1, S2, delivery_of, sample_batch


def output_of(folder: Path, lines: str = "", disk: Disk | None = None, clock: ManualClock | None = None) -> FileOutput:
    options = options_from(FileOptions, f"Path {folder}\n{lines}", "output")
    return FileOutput(options, context_of("output", clock=clock, disk=disk))


def record_batch(*bodies: Body, tag: str = "t", time_ns: int = F1.time_ns) -> RecordBatch:
    return RecordBatch(tag, [Record(time_ns, body) for body in bodies], 100 * len(bodies))


def tree(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


TEMPLATE = "Format template\nTemplate {time} s={s} k={k} x={nope} {i} {f} {m} {unclosed"


@pytest.mark.parametrize(
    ("lines", "records", "expected"),
    [
        ("", [F1], b'my/tag:x: [1700000000.500000000, {"k":"v"}]\n'),
        ("Format out_file", [F1], b'my/tag:x: [1700000000.500000000, {"k":"v"}]\n'),
        ("Format plain", [F1, S2], b'{"k":"v"}\n{"k":"v2"}\n'),
        ("Format csv", [S2], b'1700000001.000000000,"v2"\n'),
        ("Format csv\nDelimiter tab", [S2], b'1700000001.000000000\t"v2"\n'),
        ("Format csv\nDelimiter ;", [S2], b'1700000001.000000000,"v2"\n'),
        ("Format csv\ncsv_column_names on", [S2], b'timestamp,"k"\n1700000001.000000000,"v2"\n'),
        (
            "Format csv",
            [Record(F1.time_ns, {"a": "y", "b": 2.5, "c": None, "d": True})],
            b'1700000000.500000000,"y",2.500000,nil,true\n',
        ),
        ("Format ltsv", [S2], b'"time":1700000001.000000\t"k":"v2"\n'),
        ("Format ltsv\nLabel_Delimiter tab\nDelimiter space", [F1], b'"time"\t1700000000.500000 "k"\t"v"\n'),
        (
            TEMPLATE,
            [S1, S2],
            (
                '1700000000.123000 s=he"llo\\ é\n\x01😀/ k={k} x={nope} -5 1.500000 {"k"=>"v", ""=>{}} {unclosed\n'
                "1700000001.000000 s={s} k=v2 x={nope} {i} {f} {m} {unclosed\n"
            ).encode(),
        ),
        ("Format template", [Record(F1.time_ns, {"message": "m"})], b"1700000000.500000 m\n"),
    ],
)
async def test_records_are_written_in_the_chosen_format(
    tmp_path: Path, lines: str, records: list[Record], expected: bytes
) -> None:
    await output_of(tmp_path, f"File out\n{lines}").send(delivery_of(sample_batch(*records)))

    assert (tmp_path / "out").read_bytes() == expected


async def test_msgpack_writes_events_with_their_time_and_metadata(tmp_path: Path) -> None:
    body: Body = {"k": "v\udcff", "raw": msgspec.Raw(b'{"pod":"x"}')}
    batch = RecordBatch("t", [Record(1_500_000_002, body, {"m": 1})], 1)
    await output_of(tmp_path, "Format msgpack").send(delivery_of(batch))
    (time, metadata), decoded = msgspec.msgpack.decode((tmp_path / "t").read_bytes())

    assert (time.code, bytes(time.data)) == (0, (1).to_bytes(4) + (500_000_002).to_bytes(4))
    assert metadata == {"m": 1}
    assert decoded == {"k": "v\ufffd", "raw": {"pod": "x"}}


async def test_later_deliveries_are_appended_and_columns_are_named_once(tmp_path: Path) -> None:
    output = output_of(tmp_path, "File out\nFormat csv\ncsv_column_names on")
    await output.send(delivery_of(record_batch({"a": 1})))
    await output.send(delivery_of(record_batch({"a": 2})))

    assert (tmp_path / "out").read_text() == 'timestamp,"a"\n1700000000.500000000,1\n1700000000.500000000,2\n'


async def test_without_a_name_every_tag_has_its_own_file(tmp_path: Path) -> None:
    output = output_of(tmp_path, "Format plain\nmkdir on")
    await output.send(delivery_of(record_batch({"a": 1}, tag="my/tag:x"), record_batch({"b": 2}, tag="app.two")))

    assert tree(tmp_path) == {"my/tag_x": '{"a":1}\n', "app.two": '{"b":2}\n'}


async def test_files_and_their_folders_may_be_read_by_all(tmp_path: Path) -> None:
    output = output_of(tmp_path, "Format plain\nmkdir on")
    before = os.umask(0o022)
    try:
        await output.send(delivery_of(record_batch({"a": 1}, tag="my/tag")))
    finally:
        os.umask(before)

    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("my", "my/tag")] == [0o755, 0o644]


HOSTILE_TAGS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "/",
    "a/../../b",
    "a//../b",
    "./.",
    "a\x00b",
    "a\\..\\b",
    "a\nb",
    "~/x",
    "..\u2215..\u2215x",
    "\udcff",
    "../" * 2000,
    "a" * 1999 + "/..",
    "x" * 5000,
]


@pytest.mark.parametrize("tag", HOSTILE_TAGS)
async def test_a_tag_never_leaves_the_folder(tmp_path: Path, tag: str) -> None:
    folder = tmp_path / "a" / "b" / "out"
    output = output_of(folder, "Format plain\nmkdir on")
    await output.send(delivery_of(record_batch({"a": 1}, tag=tag)))

    assert list(tree(folder).values()) == ['{"a":1}\n']
    assert len(tree(tmp_path)) == 1


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("my/tag:x", "my/tag_x"),
        ("../x", "_/x"),
        ("a/./b", "a/_/b"),
        ("//a//b/", "a/b"),
        ("", "_"),
        ("app.web-1_2", "app.web-1_2"),
        ("é", "_"),
        ("...", "..."),
    ],
)
def test_the_name_of_a_tag_keeps_slashes_and_harmless_characters(tag: str, name: str) -> None:
    assert name_from_tag(tag) == name


def test_long_tags_that_differ_at_their_ends_have_different_names() -> None:
    first, second = name_from_tag("x" * 300 + "a"), name_from_tag("x" * 300 + "b")

    assert first != second
    assert len(first) < 220


async def test_a_file_that_cannot_be_opened_asks_for_a_retry_and_says_why(tmp_path: Path) -> None:
    delivery = delivery_of(record_batch({"a": 1}, tag="my/tag"))

    with pytest.raises(RetryLater, match=r"cannot write .*/my/tag: No such file or directory; mkdir is off"):
        await output_of(tmp_path).send(delivery)
    assert delivery.accepted == 0


async def test_one_bad_file_does_not_keep_the_others_of_a_delivery_waiting(tmp_path: Path) -> None:
    output = output_of(tmp_path, "Format plain")
    delivery = delivery_of(
        record_batch({"a": 1}, tag="sub/x"),
        record_batch({"b": 1}, {"b": 2}, tag="y"),
        record_batch({"a": 2}, tag="sub/x"),
    )
    with pytest.raises(RetryLater):
        await output.send(delivery)
    assert (tree(tmp_path), delivery.accepted) == ({"y": '{"b":1}\n{"b":2}\n'}, 2)

    (tmp_path / "sub").mkdir()
    await output.send(delivery)
    assert tree(tmp_path) == {"sub/x": '{"a":1}\n{"a":2}\n', "y": '{"b":1}\n{"b":2}\n'}
    assert delivery.accepted == 4


class ShortDisk(SystemDisk):
    """Writes a few bytes at a time, and at a chosen write nothing at all."""

    def __init__(self, fails_at: int = 0) -> None:
        self._left = fails_at

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]  # a static method of the base
        self._left -= 1
        if self._left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(fd, data[:7])


async def test_short_writes_are_completed(tmp_path: Path) -> None:
    await output_of(tmp_path, "Format plain", ShortDisk()).send(delivery_of(batch_of("x" * 50, "y")))

    assert tree(tmp_path) == {"test": '{"log":"' + "x" * 50 + '"}\n{"log":"y"}\n'}


@pytest.mark.parametrize("fails_at", range(1, 12))
async def test_after_a_full_disk_a_retry_writes_the_rest_and_nothing_twice(tmp_path: Path, fails_at: int) -> None:
    lines = "Format csv\ncsv_column_names on\nrotate on\nrotate_max_size 10"
    output = output_of(tmp_path, lines, ShortDisk(fails_at))
    delivery = delivery_of(batch_of("one"), batch_of("two", tag="u"))
    with pytest.raises(RetryLater, match="No space left on device"):
        await output.send(delivery)
    await output.send(delivery)

    header = 'timestamp,"log"\n1700000000.000000000,'
    assert tree(tmp_path) == {"test": header + '"one"\n', "u": header + '"two"\n'}
    assert delivery.accepted == 2


@pytest.mark.parametrize("step", range(1, 8))
async def test_a_failing_step_is_made_good_by_a_retry(tmp_path: Path, step: int) -> None:
    disk = FaultyDisk(step, ("open", "fstat", "write", "stat", "rename", "unlink"))
    output = output_of(tmp_path, "Format plain\nmkdir on\nrotate on\nrotate_max_size 1\nrotate_gzip off", disk)
    for text in ("one", "two", "three"):
        delivery = delivery_of(batch_of(text))
        try:
            await output.send(delivery)
        except RetryLater:
            await output.send(delivery)

    assert disk.failed
    assert sorted("".join(tree(tmp_path).values()).split()) == ['{"log":"one"}', '{"log":"three"}', '{"log":"two"}']


async def test_full_files_are_set_aside_compressed_and_the_oldest_removed(tmp_path: Path) -> None:
    clock = ManualClock()
    output = output_of(
        tmp_path, "File app.log\nFormat plain\nrotate on\nrotate_max_size 5\nrotate_max_files 2", None, clock
    )
    (tmp_path / "app.log.other").write_text("kept")
    for number in range(5):
        await output.send(delivery_of(record_batch({"n": number})))
    aside = sorted(p for p in tmp_path.iterdir() if p.suffix == ".gz")

    assert [gzip.decompress(p.read_bytes()) for p in aside] == [b'{"n":2}\n', b'{"n":3}\n']
    assert all(re.fullmatch(r"app\.log\.20231114_221320_0000000[0-9]\.gz", p.name) for p in aside)
    assert (tmp_path / "app.log").read_text() == '{"n":4}\n'
    assert sorted(p.name for p in tmp_path.iterdir() if p not in aside) == ["app.log", "app.log.other"]


@pytest.mark.parametrize(
    ("lines", "body", "expected"),
    [
        ("File $app.log", {"app": "web"}, "web.log"),
        ("File $k['ns']/$app", {"k": {"ns": "prod"}, "app": "web"}, "prod/web"),
        ("File $TAG", {}, "my_tag"),
        ("File %Y-%m-%d.log\nenable_strftime on", {}, "2023-11-14.log"),
        ("File %H/$app\nenable_strftime on", {"app": "%Y"}, "22/%Y"),
        ("File $app", {"app": "../../x"}, ".._.._x"),
        ("File $app/x", {"app": ".."}, "_/x"),
        ("File $app/x", {"app": ""}, "_/x"),
        ("File $a.$b", {"a": ".", "b": ""}, "_"),
        ("File $app", {"app": "a\x00\nb"}, "a__b"),
        ("File $app", {"app": 5}, "5"),
    ],
)
async def test_a_dynamic_name_is_filled_in_and_never_leaves_the_folder(
    tmp_path: Path, lines: str, body: Body, expected: str
) -> None:
    folder = tmp_path / "out"
    output = output_of(folder, f"{lines}\nFallback_File other\nmkdir on\nFormat plain")
    await output.send(delivery_of(record_batch(body, tag="my/tag")))

    assert list(tree(tmp_path)) == [f"out/{expected}"]


async def test_a_dynamic_folder_takes_files_named_by_tag(tmp_path: Path) -> None:
    options = options_from(FileOptions, f"Path {tmp_path}/$app\nFallback_File x\nmkdir on\nFormat plain", "output")
    await FileOutput(options, context_of("output")).send(delivery_of(record_batch({"app": "web"}, tag="a/b")))

    assert list(tree(tmp_path)) == ["web/a/b"]


@pytest.mark.parametrize(
    ("lines", "files", "refused"),
    [
        ("", {"a": '{"app":"a"}\n'}, {"a field of the file name is missing (error)": [2, 200]}),
        ("on_missing_field drop", {"a": '{"app":"a"}\n'}, {"a field of the file name is missing (drop)": [2, 200]}),
        ("on_missing_field fallback", {"a": '{"app":"a"}\n', "other": '{"x":1}\n{"x":2}\n'}, {}),
    ],
)
async def test_records_without_the_field_go_where_the_option_says(
    tmp_path: Path, lines: str, files: dict[str, str], refused: dict[str, Any]
) -> None:
    output = output_of(tmp_path, f"File $app\nFormat plain\nFallback_Path {tmp_path}\nFallback_File other\n{lines}")
    delivery = delivery_of(record_batch({"x": 1}, {"app": "a"}, {"x": 2}))
    await output.send(delivery)

    assert tree(tmp_path) == files
    assert delivery.refused == refused


@pytest.mark.parametrize(("policy", "refused"), [("error", 1), ("drop", 1), ("fallback", 0)])
async def test_no_more_files_are_named_than_allowed(tmp_path: Path, policy: str, refused: int) -> None:
    lines = f"File $app\nFormat plain\nmax_dynamic_files 2\nFallback_File other\non_limit_reached {policy}"
    output = output_of(tmp_path, f"{lines}\nFallback_Path {tmp_path}")
    delivery = delivery_of(record_batch({"app": "a"}, {"app": "b"}, {"app": "c"}, {"app": "a"}))
    await output.send(delivery)

    assert delivery.refused_records == refused
    assert set(tree(tmp_path)) == {"a", "b", *(["other"] if policy == "fallback" else [])}


@pytest.mark.parametrize("lines", ["File $app", "File %Y\nenable_strftime on"])
def test_dynamic_names_need_a_fallback_file(tmp_path: Path, lines: str) -> None:
    with pytest.raises(OptionError, match="fallback_file: is required when dynamic destinations are configured"):
        output_of(tmp_path, lines)


def test_an_unknown_format_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="option 'format'"):
        output_of(tmp_path, "Format fancy")


def kept_of(delivery: Delivery) -> list[tuple[str, Body]]:
    """Tags and bodies of the records that were refused."""
    return [(tag, record.body) for refusal in delivery.refusals for tag, record in refusal.which()]


@pytest.mark.parametrize(
    ("first", "second", "files"),
    [
        ("x", "x/app", {"x": '{"n":1}\n', "other": '{"n":3}\n'}),
        ("x", "x/app/y", {"x": '{"n":1}\n', "other": '{"n":3}\n'}),
        ("x/app", "x", {"x/app": '{"n":1}\n', "other": '{"n":3}\n'}),
    ],
)
@pytest.mark.parametrize("rotation", ["", "rotate on\nrotate_max_size 100"])
async def test_records_whose_file_would_be_another_ones_folder_are_refused_at_once(
    tmp_path: Path, first: str, second: str, files: dict[str, str], rotation: str, caplog: pytest.LogCaptureFixture
) -> None:
    output = output_of(tmp_path, f"Format plain\nmkdir on\n{rotation}")
    await output.send(delivery_of(record_batch({"n": 1}, tag=first)))
    delivery = delivery_of(record_batch({"n": 2}, {"n": 4}, tag=second), record_batch({"n": 3}, tag="other"))
    await output.send(delivery)

    assert tree(tmp_path) == files
    assert (delivery.accepted, delivery.refused) == (1, {"file_name_taken": [2, 200]})
    assert kept_of(delivery) == [(second, {"n": 2}), (second, {"n": 4})]
    assert caplog.text.count("or set `file`") == 1
    assert f"file={tmp_path}/{second}" in caplog.text


async def test_a_refused_file_is_not_refused_again_by_a_retry(tmp_path: Path) -> None:
    output = output_of(tmp_path, "Format plain", ShortDisk(fails_at=1))
    (tmp_path / "x").mkdir()
    delivery = delivery_of(record_batch({"n": 1}, tag="x"), record_batch({"n": 2}, tag="y"))
    with pytest.raises(RetryLater, match="No space left"):
        await output.send(delivery)
    await output.send(delivery)

    assert (delivery.accepted, delivery.refused_records, len(delivery.refusals)) == (1, 1, 1)


async def test_a_record_that_names_a_folder_as_its_file_is_refused(tmp_path: Path) -> None:
    output = output_of(tmp_path, "File $app\nFormat plain\nFallback_File other")
    (tmp_path / "a").mkdir()
    delivery = delivery_of(record_batch({"app": "a"}, {"app": "b"}))
    await output.send(delivery)

    assert (tree(tmp_path), delivery.accepted) == ({"b": '{"app":"b"}\n'}, 1)
    assert kept_of(delivery) == [("t", {"app": "a"})]


@pytest.mark.parametrize(("folder", "lines"), [("out", "File app.log"), ("file", "mkdir on"), ("file", "File $app/x")])
async def test_a_name_that_the_user_wrote_is_waited_for(tmp_path: Path, folder: str, lines: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "out" / "app.log").mkdir(parents=True)
    fallback = f"Fallback_Path {tmp_path}\nFallback_File other"
    delivery = delivery_of(record_batch({"app": "a"}))

    with pytest.raises(RetryLater):
        await output_of(tmp_path / folder, f"{lines}\n{fallback}").send(delivery)
    assert delivery.refused == {}


@pytest.mark.parametrize(
    ("folder", "strftime", "fixed"),
    [
        ("/var/log", False, "/var/log"),
        ("/var/$app/x", False, "/var"),
        ("/$app", False, "/"),
        ("$app", False, "."),
        ("logs/%Y/x", True, "logs"),
        ("logs/%Y/x", False, "logs/%Y/x"),
        (".", False, "."),
    ],
)
def test_the_fixed_part_of_a_folder_is_what_stands_before_the_first_element(
    folder: str, strftime: bool, fixed: str
) -> None:
    assert fixed_folder(folder, strftime) == fixed
