"""Compression of JSON lines of about 230 bytes: a body at once, and a file piece by piece."""

from __future__ import annotations

import io

import pytest

from shipper.codecs.compression import (
    Compression,
    compress_gzip,
    compress_snappy,
    compress_zstd,
    decoded,
    new_compressor,
)
from shipper.codecs.json_lines import JsonEncoder

from .material import count, cri_batches
from .measuring import Stage

_BODIES = {"gzip": compress_gzip, "zstd": compress_zstd, "snappy": compress_snappy}
_LEAST = {"gzip": 3.0, "zstd": 3.0, "snappy": 2.0}
"""How many times smaller the lines become at least."""


def _pieces() -> list[bytes]:
    encode = JsonEncoder().encode_lines
    return [encode(batch.content) for batch in cri_batches("json")]


@pytest.mark.parametrize("name", _BODIES)
def test_body(stage: Stage, name: str) -> None:
    body, compress = b"".join(_pieces()), _BODIES[name]

    made = stage.measure(lambda: compress(body), records=count(cri_batches("json")))

    assert 100 < len(made) * _LEAST[name] < len(body)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "snappy"])
def test_file(stage: Stage, compression: Compression) -> None:
    pieces = _pieces()

    def write() -> bytes:
        compressor = new_compressor(compression)
        return b"".join([*map(compressor.add, pieces), compressor.finish()])

    made = stage.measure(write, records=count(cri_batches("json")))

    assert b"".join(decoded(io.BytesIO(made), compression)) == b"".join(pieces)
