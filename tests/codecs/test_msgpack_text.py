"""MessagePack as text."""

from __future__ import annotations

from collections.abc import Callable
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


@pytest.mark.parametrize("wrap", [lambda v: {"k": v}, lambda v: [v], lambda v: {(v,): 1}], ids=["map", "list", "key"])
def test_what_is_nested_too_deeply_is_replaced_by_words(wrap: Callable[[Any], Any]) -> None:
    value: Any = "end"
    for _ in range(450):
        value = wrap(value) if not isinstance(value, dict) or "k" in value else {(tuple(value),): 1}

    assert "(nested too deeply)" in render({"log": "x", "deep": value})
    assert render({"log": "x", "deep": value}).startswith('{"log"=>"x", ')
