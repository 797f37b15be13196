"""Decompresses what senders have compressed, never to more than is allowed."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

_SNAPPY_BEGINNING = b"\xff\x06\x00\x00sNaPpY"


class TooLarge(ValueError):
    """The content is larger than is allowed."""


def inflate(data: bytes, coding: str, most: int) -> bytes:
    """The content of `gzip`, `deflate`, `zstd` or `snappy` data; raises `TooLarge`, or `ValueError` if it is damaged.

    Several gzip members and several zstd frames are one content.
    """
    if coding == "gzip":
        return _inflate_gzip(data, most)
    if coding == "deflate":
        # Half of the world sends it without the header of zlib.
        has_header = len(data) > 1 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
        return _inflate_deflate(data, zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS, most)
    return _inflate_zstd(data, most) if coding == "zstd" else _inflate_snappy(data, most)


def _inflate_gzip(data: bytes, most: int) -> bytes:
    from isal import igzip, isal_zlib

    # It goes from member to member inside C; a decompressor for each would copy all that follows it, every time.
    open_file: Any = igzip.GzipFile
    damaged: Any = (OSError, EOFError, zlib.error, isal_zlib.IsalError)  # the stub of the last one calls it no class
    try:
        with open_file(fileobj=BytesIO(data)) as stream:
            content: bytes = stream.read(most + 1)
    except damaged as error:
        raise ValueError(str(error)) from error
    if len(content) > most:
        raise TooLarge(f"the content is larger than {most} bytes")
    return content


def _inflate_deflate(data: bytes, wbits: int, most: int) -> bytes:
    stream = zlib.decompressobj(wbits)
    try:
        content = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(content) > most:
        raise TooLarge(f"the content is larger than {most} bytes")
    if not stream.eof:
        raise ValueError("the data end too early")
    if stream.unused_data:
        raise ValueError("there is something behind the end")
    return content


def _inflate_zstd(data: bytes, most: int) -> bytes:
    import cramjam

    room = bytearray(most)
    try:
        size = cramjam.zstd.decompress_into(data, room)
    except cramjam.DecompressionError as error:
        raise _error_of(error, most) from error
    return bytes(memoryview(room)[:size])


def _inflate_snappy(data: bytes, most: int) -> bytes:
    import cramjam

    try:
        if data.startswith(_SNAPPY_BEGINNING):
            room = bytearray(most)
            return bytes(memoryview(room)[: cramjam.snappy.decompress_into(data, room)])
        if cramjam.snappy.decompress_raw_len(data) > most:
            raise TooLarge(f"the content is larger than {most} bytes")
        return bytes(cramjam.snappy.decompress_raw(data))
    except cramjam.DecompressionError as error:
        raise _error_of(error, most) from error


def _error_of(error: Exception, most: int) -> ValueError:
    if "whole buffer" in str(error):
        return TooLarge(f"the content is larger than {most} bytes")
    return ValueError(str(error))
