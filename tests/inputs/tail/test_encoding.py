"""Files that are not UTF-8: every line once, wherever a read or a restart falls."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from shipper.disk import SystemDisk
from shipper.errors import ConfigError
from shipper.inputs.tail.conversion import Conversion
from shipper.inputs.tail.encoding import GENERIC_ENCODINGS, codec_by_mark, python_codec
from shipper.inputs.tail.positions import Position
from shipper.inputs.tail.source import Source
from shipper.log import Log

from .running import Tail, read_all, rows

SAMPLES = {
    "ShiftJIS": "日本語テスト",
    "UHC": "한국어",
    "GBK": "简体中文",
    "GB18030": "中文€😀",
    "Big5": "繁體中文",
    "Win866": "Привет",
    "Win874": "ไทย",
    "Win1250": "Příliš žluťoučký",
    "Win1251": "Привет",
    "Win1252": "déjà vu €",
    "Win1253": "Ελλάδα",
    "Win1254": "ığüşöç",
    "Win1255": "שלום",
    "Win1256": "سلام",
}


def options(path: Path, encoding: str, *more: str) -> str:
    return "\n".join([f"path {path}", "read_from_head on", encoding, *more])


def source_of(path: Path, codec: str, position: Position = Position(text=0)) -> Source:  # noqa: B008
    disk = SystemDisk()
    fd = disk.open(str(path), 0)
    made = Conversion(disk, codec, Log("")).source_of((str(path),), fd, disk.fstat(fd), position)
    assert made is not None
    return made


@pytest.mark.parametrize("name", GENERIC_ENCODINGS)
async def test_lines_of_every_encoding_become_utf_8(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(f"{SAMPLES[name]}\nabc\n".encode(GENERIC_ENCODINGS[name]))

    tail = await read_all(options(path, f"generic.encoding {name.lower()}"), 2)

    assert tail.lines() == [SAMPLES[name], "abc"]


@pytest.mark.parametrize(
    ("option", "codec", "mark"),
    [
        ("UTF-16LE", "utf-16-le", b""),
        ("UTF-16LE", "utf-16-le", b"\xff\xfe"),
        ("UTF-16BE", "utf-16-be", b""),
        ("auto", "utf-16-le", b"\xff\xfe"),
        ("auto", "utf-16-be", b"\xfe\xff"),
        ("auto", "utf-8", b""),
    ],
)
async def test_lines_of_utf_16_become_utf_8(tmp_path: Path, option: str, codec: str, mark: bytes) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(mark + "one é\ntwo 日本 ਊ\nthree 😀\n".encode(codec))

    tail = await read_all(options(path, f"unicode.encoding {option}"), 3)

    assert tail.lines() == ["one é", "two 日本 ਊ", "three 😀"]


async def test_a_file_written_byte_by_byte_is_read_the_same(tmp_path: Path) -> None:
    path, db = tmp_path / "a.log", tmp_path / "p.db"
    data = b"\xff\xfe" + "é😀\nzwei\n".encode("utf-16-le")
    path.write_bytes(b"")

    async with Tail(options(path, "unicode.encoding auto", f"db {db}", "offset_key o")) as tail:
        for byte in data:
            with path.open("ab") as file:
                file.write(bytes([byte]))
            tail.input._looking.look_at_all()
            await tail.until(lambda: not tail.input._turns)
        await tail.has(2)

    assert tail.bodies() == [{"o": 0, "log": "é😀"}, {"o": 7, "log": "zwei"}]
    assert rows(db, "offset") == [(len(data),)]


async def test_a_restart_goes_on_behind_the_last_line(tmp_path: Path) -> None:
    path, db = tmp_path / "a.log", tmp_path / "p.db"
    lines = options(path, "generic.encoding GBK", f"db {db}", "offset_key o")
    first = "简体\n中文\n".encode("gbk")
    path.write_bytes(first + "未完".encode("gbk"))
    before = await read_all(lines, 2)
    stored = rows(db, "offset")
    with path.open("ab") as file:
        file.write("成\n".encode("gbk"))

    after = await read_all(lines, 1)

    assert stored == [(len(first),)]
    assert before.bodies() == [{"o": 0, "log": "简体"}, {"o": 7, "log": "中文"}]
    assert after.bodies() == [{"o": 14, "log": "未完成"}]


async def test_a_file_followed_from_its_end_begins_at_a_whole_unit(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    data = "alt\nneu\n".encode("utf-16-le")
    path.write_bytes(data[:9])

    async with Tail(f"path {path}\nunicode.encoding UTF-16LE") as tail:
        await tail.until(lambda: len(tail.input._catalogue) == 1)
        with path.open("ab") as file:
            file.write(data[9:])
        await tail.has(1)

    assert tail.lines() == ["neu"]


async def test_a_file_that_is_truncated_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes("eins\nzwei\n".encode("utf-16-le"))

    async with Tail(options(path, "unicode.encoding UTF-16LE")) as tail:
        await tail.has(2)
        path.write_bytes("drei\n".encode("utf-16-le"))
        await tail.has(3)

    assert tail.lines() == ["eins", "zwei", "drei"]


async def test_a_long_line_is_skipped_and_the_next_one_read(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(("ä" * 300_000 + "\nkurz\n").encode("cp1252"))

    tail = await read_all(options(path, "generic.encoding Win1252", "skip_long_lines on"), 1)

    assert tail.lines() == ["kurz"]


async def test_bytes_that_mean_nothing_become_replacement_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"a\x81\nb\n")

    tail = await read_all(options(path, "generic.encoding ShiftJIS"), 2)

    assert tail.lines() == ["a\ufffd", "b"]
    assert tail.count("invalid_utf8_lines_total") == 1


@pytest.mark.parametrize("multiline", ["", "multiline.parser docker, cri"])
async def test_lines_with_half_a_surrogate_pair_are_counted_as_invalid(tmp_path: Path, multiline: str) -> None:
    path = tmp_path / "a.log"
    path.write_bytes("é\n".encode("utf-16-le") + b"\x00\xd8" + "x 😀\n".encode("utf-16-le"))

    tail = await read_all(options(path, "unicode.encoding UTF-16LE", multiline), 2)

    assert tail.lines() == ["é", "\ufffdx 😀"]
    assert tail.count("invalid_utf8_lines_total") == 1


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "cp932", "gb18030"])
def test_reading_in_any_pieces_from_any_stored_place_gives_the_same_text(tmp_path: Path, codec: str) -> None:
    chance = random.Random(codec)
    text = "".join("日本\ne、終" if chance.random() < 0.3 else "x" * chance.randrange(9) + "\n" for _ in range(60_000))
    path = tmp_path / "a.log"
    path.write_bytes(text.encode(codec))
    whole = text.encode()
    source = source_of(path, codec)
    offset = 0
    while offset < len(whole):
        piece = source.read(chance.randrange(1, 100_000), offset)
        assert whole.startswith(piece, offset) and piece
        offset += len(piece)

        place = source.break_before(offset)
        again = source_of(path, codec, Position(place.file, offset, text=place.text))
        assert again.read(50, offset) == whole[offset : offset + 50]

    assert source.break_before(offset).file == path.stat().st_size


def test_both_encodings_together_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"generic\.encoding.*together with unicode\.encoding"):
        Tail("path /a.log\nunicode.encoding auto\ngeneric.encoding GBK")


@pytest.mark.parametrize(
    ("option", "one_of_them"), [("unicode.encoding", "auto, UTF-16LE, UTF-16BE"), ("generic.encoding", "ShiftJIS, UHC")]
)
def test_an_unknown_encoding_lists_the_possible_ones(option: str, one_of_them: str) -> None:
    with pytest.raises(ConfigError, match=f"{option}.*'EBCDIC'.*{one_of_them}"):
        Tail(f"path /a.log\n{option} EBCDIC")


@pytest.mark.parametrize(
    ("head", "codec"),
    [(b"", None), (b"\xff", None), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"a", "utf-8")],
)
def test_a_byte_order_mark_tells_the_encoding(head: bytes, codec: str | None) -> None:
    assert codec_by_mark(head) == codec


def test_names_of_encodings_are_found_in_any_case() -> None:
    assert python_codec("shiftjis", GENERIC_ENCODINGS) == "cp932"
    assert python_codec("latin", GENERIC_ENCODINGS) is None
