"""grep: rules of three kinds of logic as a table."""

from __future__ import annotations

import msgspec
import pytest

from shipper.errors import ConfigError
from shipper.filters.grep import GrepFilter, GrepOptions
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ..written_options import options_from

XY, XN, NY, NM = {"a": "xx", "b": "y"}, {"a": "xx", "b": "n"}, {"a": "n", "b": "y"}, {"a": "n", "b": "m"}


def grep(lines: str) -> GrepFilter:
    return GrepFilter(options_from(GrepOptions, lines), context_of("filter"))


def kept(lines: str, *bodies: Body) -> list[Body]:
    result = grep(lines).apply(RecordBatch("t", [Record(0, dict(body)) for body in bodies], 100))
    return [r.body for r in result] if result else []


@pytest.mark.parametrize(
    ("lines", "bodies", "expected"),
    [
        ("Regex a x\nExclude b y", [XY, {"a": "zz", "b": "y"}], [XY]),
        ("Exclude b y\nRegex a x", [XY, XN], [XN]),
        ("Regex a x\nRegex b y", [XY, XN, NY], [XY, XN]),
        ("Logical_Op AND\nRegex a x\nRegex b y", [XY, XN, NY], [XY]),
        ("Logical_Op or\nRegex a x\nRegex b y", [XY, XN, NY, NM], [XY, XN, NY]),
        ("Logical_Op OR\nExclude a x\nExclude b y", [XY, XN, NM], [NM]),
        ("Logical_Op and\nExclude a x\nExclude b y", [XY, XN, NM], [XN, NM]),
        ("Logical_Op xor\nRegex a x\nRegex b y", [XY, XN, NY], [XY, XN]),
        ("Logical_Op AND", [XY], [XY]),
        ("Regex $k['s'] ^v$", [{"k": {"s": "v"}}, {"k": {"s": "w"}}, {"k": {}}], [{"k": {"s": "v"}}]),
        ("Regex $k['s'] ^v$", [{"k": "v"}, {"k": "w"}], [{"k": "v"}]),
        (
            "Regex $k['s']['t'] ^v$",
            [{"k": {"s": {"t": "v"}}}, {"k": {"s": "v"}}, {"k": {"s": {"t": 1}}}, {}],
            [{"k": {"s": {"t": "v"}}}],
        ),
        (
            "Regex $k['s']['t'] ^v$",
            [{"k": {"s": msgspec.Raw(b'{"t":"v"}')}}],
            [{"k": {"s": msgspec.Raw(b'{"t":"v"}')}}],
        ),
        ("Regex $l[1] b", [{"l": ["a", "b"]}, {"l": ["b"]}], [{"l": ["a", "b"]}]),
        ("Regex code ^2", [{"code": 200}, {"code": True}, {"code": None}], []),
        ("Exclude code .", [{"x": True}, {"code": 5}, {"code": "5"}], [{"x": True}, {"code": 5}]),
        ("Exclude a x\nExclude b y", [XY, XN, NY, NM], [NM]),
        ("Regex log two words", [{"log": "has two words"}, {"log": "two"}], [{"log": "has two words"}]),
        ("Regex log /ERROR/i", [{"log": "an error"}, {"log": "fine"}], [{"log": "an error"}]),
        ("Regex log ^b", [{"log": "a\nb"}, {"log": "ab"}], [{"log": "a\nb"}]),
    ],
)
def test_rules_keep_and_drop(lines: str, bodies: list[Body], expected: list[Body]) -> None:
    assert kept(lines, *bodies) == expected


def test_each_map_that_was_encoded_ahead_is_searched() -> None:
    web, cron = msgspec.Raw(b'{"labels":{"app":"web"}}'), msgspec.Raw(b'{"labels":{"app":"cron"}}')
    bodies: list[Body] = [{"k": pod} for pod in (web, web, cron, cron, web)] + [{"k": {"labels": {"app": "web"}}}]

    assert kept("Regex $k['labels']['app'] ^web$", *bodies) == [bodies[i] for i in (0, 1, 4, 5)]


def test_a_batch_that_stays_whole_is_not_rebuilt() -> None:
    batch = RecordBatch("t", [Record(0, {"a": "x"})], 10)
    records = batch.records

    assert grep("Regex a x").apply(batch) is batch
    assert batch.records is records


def test_the_size_of_a_batch_shrinks_with_its_records() -> None:
    batch = grep("Regex a x").apply(RecordBatch("t", [Record(0, {"a": "x"}), Record(0, {"a": "y"})], 100))

    assert batch is not None
    assert batch.size == 50


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("Regex log", "expected FIELD PATTERN"),
        ("Regex log [", "regex"),
        ("Regex $k[ x", "syntax error"),
        ("Logical_Op AND\nRegex a x\nExclude b y", "both 'regex' and 'exclude' are set"),
        ("Logical_Op or\nRegex a x\nExclude b y", "both 'regex' and 'exclude' are set"),
    ],
)
def test_rules_that_cannot_be_read_stop_the_start(lines: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"test\.conf:\d") as caught:
        options_from(GrepOptions, lines)

    assert message in str(caught.value)
