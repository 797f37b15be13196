from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import get_args

import cramjam
import pytest

from shipper.codecs.compression import (
    Compression,
    CorruptData,
    compress_gzip,
    compress_snappy,
    compress_zstd,
    decoded,
    new_compressor,
)

PARTS = [b"first line\n" * 20_000, b"second\n", b"", bytes(range(256)) * 700]
ALL = get_args(Compression)


def content_of(data: bytes, compression: Compression) -> bytes:
    return b"".join(decoded(io.BytesIO(data), compression))


@pytest.mark.parametrize("compression", ALL)
def test_every_addition_can_be_decoded_before_the_piece_is_finished(compression: Compression) -> None:
    compressor = new_compressor(compression)
    written = b""
    for number, part in enumerate(PARTS, 1):
        written += compressor.add(part)

        assert content_of(written, compression) == b"".join(PARTS[:number])


@pytest.mark.parametrize("compression", ALL)
def test_pieces_that_follow_each_other_are_one_file(compression: Compression) -> None:
    written = b""
    for part in PARTS:
        compressor = new_compressor(compression)
        written += compressor.add(part) + compressor.finish()

    assert content_of(written, compression) == b"".join(PARTS)


@pytest.mark.parametrize("compression", ALL)
def test_a_file_that_ends_in_the_middle_gives_what_came_before(compression: Compression) -> None:
    compressor = new_compressor(compression)
    first = compressor.add(PARTS[0])
    second = compressor.add(PARTS[3])

    for end in range(len(first), len(first) + len(second), max(1, len(second) // 50)):
        found = content_of((first + second)[:end], compression)
        assert found.startswith(PARTS[0])
        assert (PARTS[0] + PARTS[3]).startswith(found)


@pytest.mark.parametrize("compression", [c for c in ALL if c != "none"])
def test_damage_is_noticed_behind_what_is_good(compression: Compression) -> None:
    compressor = new_compressor(compression)
    good = compressor.add(PARTS[0]) + compressor.finish()
    read = decoded(io.BytesIO(good + b"\x07" * 100), compression)

    found = b""
    with pytest.raises(CorruptData):
        for part in read:
            found += part

    assert found == PARTS[0]


def test_whole_bodies_are_read_by_the_usual_decoders() -> None:
    data = b"".join(PARTS)

    assert gzip.decompress(compress_gzip(data)) == data
    assert bytes(cramjam.snappy.decompress_raw(compress_snappy(data))) == data
    assert bytes(cramjam.zstd.decompress(compress_zstd(data))) == data


def test_the_same_data_gives_the_same_gzip() -> None:
    assert compress_gzip(b"x" * 100) == compress_gzip(b"x" * 100)
    assert compress_gzip(b"x")[4:8] == b"\0\0\0\0"


@pytest.mark.parametrize("compression", ["gzip", "zstd", "snappy"])
def test_finished_files_are_read_by_the_usual_decoders(compression: Compression) -> None:
    compressor = new_compressor(compression)
    written = b"".join(map(compressor.add, PARTS)) + compressor.finish()
    read: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.decompress,
        "zstd": lambda data: bytes(cramjam.zstd.decompress(data)),
        "snappy": lambda data: bytes(cramjam.snappy.decompress(data)),
    }

    assert read[compression](written) == b"".join(PARTS)
