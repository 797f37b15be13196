"""Decompression: every coding, and never to more than is allowed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import cramjam
import pytest
from isal import isal_zlib

from shipper.inputs.listening import TooLarge, inflate

CONTENT = b"some text, " * 1000


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def packed(coding: str) -> bytes:
    makers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": lambda data: bytes(cramjam.zstd.compress(data)),
        "snappy": lambda data: bytes(cramjam.snappy.compress_raw(data)),
    }
    return makers[coding](CONTENT)


CODINGS = ("gzip", "deflate", "zstd", "snappy")


@pytest.mark.parametrize("coding", CODINGS)
def test_content_of_exactly_the_allowed_size_comes_through(coding: str) -> None:
    assert inflate(packed(coding), coding, len(CONTENT)) == CONTENT


@pytest.mark.parametrize("coding", CODINGS)
def test_content_one_byte_larger_is_refused(coding: str) -> None:
    with pytest.raises(TooLarge):
        inflate(packed(coding), coding, len(CONTENT) - 1)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("spoil", [lambda d: d[: len(d) // 2], lambda d: b"\x01\x02" + d], ids=["cut", "wrong"])
def test_damaged_data_are_refused(coding: str, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError):
        inflate(spoil(packed(coding)), coding, len(CONTENT))


def test_deflate_may_come_without_the_header_of_zlib() -> None:
    assert inflate(raw_deflate(CONTENT), "deflate", len(CONTENT)) == CONTENT


def test_framed_snappy_is_known_by_its_beginning() -> None:
    assert inflate(bytes(cramjam.snappy.compress(CONTENT)), "snappy", len(CONTENT)) == CONTENT


def test_several_gzip_members_share_one_limit() -> None:
    twice = gzip.compress(CONTENT) * 2

    assert inflate(twice, "gzip", 2 * len(CONTENT)) == CONTENT * 2
    with pytest.raises(TooLarge):
        inflate(twice, "gzip", 2 * len(CONTENT) - 1)


@pytest.mark.parametrize("content", [b"", b"x"])
def test_very_many_gzip_members_are_read_without_a_decompressor_for_each(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isal_zlib, "decompressobj", None)  # each would copy what follows its member

    assert inflate(gzip.compress(content) * 20_000, "gzip", 20_000) == content * 20_000


def test_zeros_behind_gzip_members_are_padding_and_anything_else_is_not() -> None:
    member = gzip.compress(CONTENT)

    assert inflate(member + b"\0\0" + member + b"\0", "gzip", 2 * len(CONTENT)) == CONTENT * 2
    with pytest.raises(ValueError):
        inflate(member + b"junk", "gzip", 2 * len(CONTENT))
