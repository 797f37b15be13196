"""Compression of request bodies in one go, and of files that grow, piece by piece.

A file that grows is written by a `Compressor`. Whatever was written so far can be decoded to its end, so that a process
that dies leaves everything it wrote; `decoded` reads such a file as far as it goes. A `finish`ed piece stands alone:
pieces that follow each other are one valid file.

- gzip: one member a piece, brought to a byte boundary behind every addition. ISA-L at level 1 costs a third of zlib.
- zstd: one frame an addition.
- snappy: the framing format, in chunks of 64 KiB.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal, Protocol

Compression = Literal["none", "gzip", "zstd", "snappy"]

_READ = 1 << 20
_GZIP_LEVEL = 1
_ZSTD_LEVEL = 1
_GZIP_WBITS = 31
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SNAPPY_BEGINNING = b"\xff\x06\x00\x00sNaPpY"


class CorruptData(ValueError):
    """The bytes are not what the compressor wrote; what was decoded before stays good."""


class Compressor(Protocol):
    """Compresses one piece."""

    def add(self, data: bytes) -> bytes:
        """Compress more; all bytes given out so far can be decoded to the end of `data`."""

    def finish(self) -> bytes:
        """What ends the piece; nothing may be added afterwards."""


def compress_gzip(data: bytes) -> bytes:
    """The data as one gzip member that does not depend on the time of day."""
    from isal import isal_zlib

    return isal_zlib.compress(data, _GZIP_LEVEL, _GZIP_WBITS)


def compress_snappy(data: bytes) -> bytes:
    """The data as one raw snappy block, without framing."""
    import cramjam

    return bytes(cramjam.snappy.compress_raw(data))


def compress_snappy_frames(data: bytes) -> bytes:
    """The data in snappy's framing format."""
    import cramjam

    return bytes(cramjam.snappy.compress(data))


def compress_zstd(data: bytes) -> bytes:
    """The data as one zstd frame."""
    import cramjam

    return bytes(cramjam.zstd.compress(data, level=_ZSTD_LEVEL))


def new_compressor(compression: Compression) -> Compressor:
    """A compressor for the next piece of a file."""
    return _COMPRESSORS[compression]()


def decoded(file: BinaryIO, compression: Compression) -> Iterator[bytes]:
    """The content of a file from its present place, as far as it is whole; raises `CorruptData` where it is damaged.

    A file that ends in the middle is not damaged, it only ends there.
    """
    return _DECODERS[compression](file)


class _Plain:
    def add(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Gzip:
    def __init__(self) -> None:
        from isal import isal_zlib

        self._stream = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WBITS)
        self._flush_mode = isal_zlib.Z_SYNC_FLUSH

    def add(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(self._flush_mode)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Zstd:
    def add(self, data: bytes) -> bytes:
        return compress_zstd(data)

    def finish(self) -> bytes:
        return b""


class _Snappy:
    def __init__(self) -> None:
        import cramjam

        self._stream = cramjam.snappy.Compressor()

    def add(self, data: bytes) -> bytes:
        self._stream.compress(data)
        return bytes(self._stream.flush())

    def finish(self) -> bytes:
        return bytes(self._stream.finish())


def _read_plain(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(_READ):
        yield data


def _read_gzip(file: BinaryIO) -> Iterator[bytes]:
    stream = zlib.decompressobj(_GZIP_WBITS)
    while data := file.read(_READ):
        while data:
            if stream.eof:
                stream = zlib.decompressobj(_GZIP_WBITS)
            try:
                content = stream.decompress(data, _READ)
            except zlib.error as error:
                raise CorruptData(str(error)) from error
            if content:
                yield content
            data = stream.unused_data if stream.eof else stream.unconsumed_tail


def _read_zstd(file: BinaryIO) -> Iterator[bytes]:
    import cramjam

    while frame := _zstd_frame(file):
        try:
            yield bytes(cramjam.zstd.decompress(frame))
        except cramjam.DecompressionError as error:
            raise CorruptData(str(error)) from error


def _zstd_frame(file: BinaryIO) -> bytes:
    """The bytes of the next frame; none if the file ends before the frame does."""
    head = file.read(5)
    if len(head) < 5:
        return b""
    if not head.startswith(_ZSTD_MAGIC):
        raise CorruptData("no zstd frame")
    flags = head[4]
    is_single, has_checksum = bool(flags & 0x20), bool(flags & 0x04)
    size_bytes = (1 if is_single else 0, 2, 4, 8)[flags >> 6]
    parts = [head, file.read((0 if is_single else 1) + (0, 1, 2, 4)[flags & 3] + size_bytes)]
    is_last = False
    while not is_last:
        block = file.read(3)
        if len(block) < 3:
            return b""
        number = int.from_bytes(block, "little")
        is_last, kind, size = bool(number & 1), number >> 1 & 3, number >> 3
        content = file.read(1 if kind == 1 else size)  # a run of one byte is stored as that byte
        if len(content) < (1 if kind == 1 else size):
            return b""
        parts += (block, content)
    if has_checksum:
        checksum = file.read(4)
        if len(checksum) < 4:
            return b""
        parts.append(checksum)
    return b"".join(parts)


def _read_snappy(file: BinaryIO) -> Iterator[bytes]:
    import cramjam

    while len(head := file.read(4)) == 4:
        size, is_data = int.from_bytes(head[1:], "little"), head[0] in (0, 1)
        if not is_data and head[0] < 0x80:
            raise CorruptData("no snappy frame")
        chunk = head + file.read(size)
        if len(chunk) < 4 + size:
            return
        if not is_data:  # the name of the format, or padding
            continue
        try:
            yield bytes(cramjam.snappy.decompress(_SNAPPY_BEGINNING + chunk))
        except cramjam.DecompressionError as error:
            raise CorruptData(str(error)) from error


_COMPRESSORS: dict[Compression, Callable[[], Compressor]] = {
    "none": _Plain,
    "gzip": _Gzip,
    "zstd": _Zstd,
    "snappy": _Snappy,
}
_DECODERS: dict[Compression, Callable[[BinaryIO], Iterator[bytes]]] = {
    "none": _read_plain,
    "gzip": _read_gzip,
    "zstd": _read_zstd,
    "snappy": _read_snappy,
}
