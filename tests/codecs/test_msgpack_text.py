"""MessagePack as text."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shipper.codecs.msgpack_text import encode, render


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('he"llo\\ é\n\x01😀/', '"he"llo\\ é\n\x01😀/"'),
        (-5, "-5"),
        (18446744073709551615, "18446744073709551615"),
        (1.5, "1.500000"),
        (2.0, "2.000000"),
        (1e20, "100000000000000000000.000000"),
        (True, "true"),
        (False, "false"),
        (None, "nil"),
        ([1, "x", {}], '[1, "x", {}]'),
        ({"k": "v", "": {}}, '{"k"=>"v", ""=>{}}'),
        ({1: []}, "{1=>[]}"),
        (b"raw", '"raw"'),
        (msgspec.Raw(b'{"pod":["x"]}'), '{"pod"=>["x"]}'),
        (msgspec.msgpack.Ext(5, b"\x01"), '(ext: 5)"\\x01"'),
    ],
)
def test_a_value_is_printed_as_specified(value: Any, expected: str) -> None:
    assert render(value) == expected


def test_bytes_that_were_no_utf8_are_printed_as_they_were() -> None:
    assert encode(render("bad \udcff")) == b'"bad \xff"'
    assert encode(render("half \ud83d")) == b'"half ?"'
