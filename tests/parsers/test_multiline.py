"""Which lines the multiline engine joins: vectors recorded from Fluent Bit."""

from __future__ import annotations

import pytest

from shipper.parsers.joiner import Joiner
from shipper.parsers.multiline import MultilineDefinition

from .joining import (
    DATED,
    DATED_RULES,
    LETTERS,
    NOW_NS,
    PairsParser,
    cri,
    docker,
    endswith,
    equal,
    feed,
    finish,
    joined,
    joiner_of,
    rules,
    texts,
)

TRACE = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "    x()"]
GO = ["panic: boom", "", "goroutine 1 [running]:", "main.f(0x1)", "\t/a.go:1 +0x2", "main.main()", "\t/a.go:9"]
GO_SIGNAL = [
    "x panic: boom",
    "[signal SIGSEGV: segv]",
    "",
    "goroutine 1 [running]:",
    "main.f(0x1)",
    "\t/a.go:1",
    "",
    "goroutine 2 [select]:",
    "created by foo",
    "\t/b.go",
]
JAVA = [
    'Exception in thread "main" java.lang.RuntimeException: boom',
    "\tat com.a.B.c(B.java:1)",
    "\t... 6 more",
    "Caused by: x.y.Z: q",
    "  at d.e(F.java:2)",
]
RUBY = ["a.rb:1:in `x': boom (RuntimeError)", "\tfrom b.rb:2:in `y'", "\tfrom c.rb:3:in `z'"]


def whole(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


VECTORS: list[tuple[str, list[MultilineDefinition | str], list[str], list[str]]] = [
    ("3 docker without stream", ["docker"], ['{"log":"a\\n"}'], ["a\n"]),
    ("4 docker, other line", ["docker"], ["plain"], ["plain"]),
    ("5 docker, empty log", ["docker"], ['{"log":"","stream":"stdout"}'], ['{"log":"","stream":"stdout"}']),
    ("6 docker, newline alone", ["docker"], [docker("\\n")], ["\n"]),
    ("7 docker, silence", ["docker"], [docker("a")], ["a"]),
    ("8 docker without log", ["docker"], ['{"msg":"x"}'], ['{"msg":"x"}']),
    ("11 cri, silence", ["cri"], [cri("P a"), cri("P b")], ["ab"]),
    ("12 cri, empty text", ["cri"], [cri("F ")], [""]),
    ("13 cri without the blank", ["cri"], [cri("F")], [cri("F")]),
    ("14 cri with a tag", ["cri"], [cri("P:tag a")], [cri("P:tag a")]),
    ("16 cri, other and blank", ["cri"], ["not cri", ""], ["not cri"]),
    ("17 garbage between", ["cri"], [cri("P one"), "garbage", cri("F two")], ["one", "garbage", "two"]),
    ("19 two forms", ["docker", "cri"], [docker("a"), cri("P x"), docker("b\\n"), cri("F y")], ["ab\n", "xy"]),
    ("22 java", ["java"], ["a line", *JAVA, "next"], ["a line\n", whole(JAVA), "next\n"]),
    ("23 java", ["java"], ["Exception: none", "\tat b"], ["Exception: none\n", "\tat b\n"]),
    ("24 java", ["java"], ["x Error", "\tat b"], ["x Error\n", "\tat b\n"]),
    (
        "25 java, blank line inside",
        ["java"],
        ["foo.BarException:", "", "\tat b(c)", "plain"],
        ["foo.BarException:\n\n\tat b(c)\n", "plain\n"],
    ),
    (
        "26 java, one after another",
        ["java"],
        ["x.FooException: a", "BarException: b", "\tat q"],
        ["x.FooException: a\n", "BarException: b\n\tat q\n"],
    ),
    ("27 java, blank line outside", ["java"], ["one", "", "two"], ["one\n", "two\n"]),
    (
        "28 python",
        ["python"],
        ["hello", *TRACE, "ValueError: bad", "world"],
        ["hello\n", whole([*TRACE, "ValueError: bad"]), "world\n"],
    ),
    (
        "29 python twice",
        ["python"],
        [*TRACE, *TRACE[1:], "mod.Err: m", TRACE[0], '  File "c"'],
        [whole([*TRACE, *TRACE[1:], "mod.Err: m"]), whole([TRACE[0], '  File "c"'])],
    ),
    ("30 go", ["go"], [*GO, "exit status 2"], [whole(GO), "exit status 2\n"]),
    ("31 go, signal", ["go"], [*GO_SIGNAL, "end"], [whole(GO_SIGNAL), "end\n"]),
    ("32 ruby", ["ruby"], [*RUBY, "ok"], [whole(RUBY), "ok\n"]),
    (
        "33 rules",
        [DATED],
        ["2020- a", "  b", "  c", "2021- d", "plain", "  e"],
        ["2020- a\n  b\n  c\n", "2021- d\n", "plain\n", "  e\n"],
    ),
    ("35 endswith", [endswith(";")], ["a", "b;", "c;", "d"], ["a\nb;\n", "c;\n", "d\n"]),
    (
        "37 endswith, negate",
        [endswith("\\\\", negate=True)],
        ["one \\\\", "two", "three"],
        ["one \\\\\ntwo\n", "three\n"],
    ),
    ("38 short lines are kept", [endswith("END")], ["a", "bb", "ccc", "dddEND"], ["a\nbb\nccc\ndddEND\n"]),
    ("39 equal", [equal("END")], ["a", "b", "END", "c"], ["a\nb\nEND\n", "c\n"]),
    ("40 equal, negate", [equal("END", negate=True)], ["a", "b", "END", "c"], ["a\n", "b\n", "END\nc\n"]),
    (
        "41 rules",
        [rules('"start_state" "/^- /" "cont"', '"cont" "/^([1-9]).*$/" "cont"')],
        ["- x", "1", "2", "0", "- y"],
        ["- x\n1\n2\n", "0\n", "- y\n"],
    ),
    (
        "42 three states",
        [LETTERS],
        ["A1", "B1", "C1", "C2", "A2", "C3", "B2"],
        ["A1\nB1\nC1\n", "C2\n", "A2\n", "C3\n", "B2\n"],
    ),
    ("43 single lines", [rules('"start_state" "/^A/" "start_state"')], ["A1", " c", "A2"], ["A1\n", " c\n", "A2\n"]),
    (
        "44 continuation wins",
        [rules('"start_state" "/^A/" "c"', '"c" "/./" "c"')],
        ["x", "A1", " c", "A2", "y"],
        ["x\n", "A1\n c\nA2\ny\n"],
    ),
    (
        "45 look-ahead",
        [rules('"start_state" "/^A/" "c"', '"c" "/^(?!A)/" "c"')],
        ["x", "A1", " c", "", "A2", "y"],
        ["x\n", "A1\n c\n\n", "A2\ny\n"],
    ),
    (
        "46 blank lines",
        [rules('"start_state" "/^A/" "c"', '"c" "/^ |^$/" "c"')],
        ["A1", " b", "", "", " c", "A2"],
        ["A1\n b\n\n\n c\n", "A2\n"],
    ),
    ("47 file with CRLF, as the reader cuts it", [DATED], ["2020- a", "  b"], ["2020- a\n  b\n"]),
    (
        "58 the state survives a decline",
        [DATED],
        ["2020- a", "  b", "plain", "  e", "  f", "2021- d"],
        ["2020- a\n  b\n", "plain\n", "  e\n  f\n", "2021- d\n"],
    ),
    (
        "negate means nothing to rules",
        [rules(*DATED_RULES, negate=True)],
        ["2020- a", "  b", "plain"],
        ["2020- a\n  b\n", "plain\n"],
    ),
    (
        "the flags of a pattern",
        [rules('"start_state" "/^start # a comment/ix" "c"', '"c" "/^ | ^$/i" "c"')],
        ["START", " b", "c"],
        ["START\n b\n", "c\n"],
    ),
    (
        "a blank continuation begins a record",
        [rules('"start_state" "/^A/" "c"', '"c" "/^ |^$/" "c"')],
        ["A2", "x", "", "A3"],
        ["A2\n", "x\n", "\n", "A3\n"],
    ),
    (
        "several languages",
        ["java", "python", "go"],
        ["start", *JAVA, "on", *TRACE, "E: bad", "world", *GO, "exit"],
        ["start\n", whole(JAVA), "on\n", whole([*TRACE, "E: bad"]), "world\n", whole(GO), "exit\n"],
    ),
    (
        "a nested exception that ends in a start rule completes",
        ["java"],
        ["a FooException: x", "nested exception is: y", "\tat b"],
        ["a FooException: x\nnested exception is: y\n", "\tat b\n"],
    ),
]


@pytest.mark.parametrize(("definitions", "lines", "logs"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS])
def test_lines_are_joined_as_fluent_bit_does(
    definitions: list[MultilineDefinition | str], lines: list[str], logs: list[str]
) -> None:
    records = joined(definitions, lines)

    assert texts(records) == logs


def test_docker_parts_keep_the_fields_and_the_time_of_the_first() -> None:
    [record] = joined(["docker"], [docker("a "), docker("b\\n", second=1)])

    assert record.body == {"log": "a b\n", "stream": "stdout", "time": "2020-01-01T00:00:00.5Z"}
    assert record.time_ns == 1577836800_500000000


def test_docker_streams_are_joined_apart() -> None:
    records = joined(["docker"], [docker("a "), docker("e\\n", "stderr", 2), docker("b\\n", second=1)])

    assert [(r.body["log"], r.body["stream"], r.time_ns) for r in records] == [
        ("e\n", "stderr", 1577836802_500000000),
        ("a b\n", "stdout", 1577836800_500000000),
    ]


def test_docker_ignores_the_offset_of_a_time() -> None:
    [record] = joined(["docker"], ['{"log":"a\\n","time":"2020-01-01T00:00:00.5+02:00"}'])

    assert record.time_ns == 1577836800_500000000


def test_cri_parts_keep_the_fields_and_the_time_of_the_first() -> None:
    records = joined(
        ["cri"],
        [cri("P a "), cri("F err", "stderr", 1), "2020-01-01T00:00:02.5+01:00 stdout F b"],
    )

    assert [list(r.body.items()) for r in records] == [
        [("time", "2020-01-01T00:00:01.5Z"), ("stream", "stderr"), ("_p", "F"), ("log", "err")],
        [("time", "2020-01-01T00:00:00.5Z"), ("stream", "stdout"), ("_p", "P"), ("log", "a b")],
    ]
    assert [r.time_ns for r in records] == [1577836801_500000000, 1577836800_500000000]


def test_11_parts_without_an_end_keep_the_flag_of_the_first() -> None:
    [record] = joined(["cri"], [cri("P a"), cri("P b")])

    assert (record.body["_p"], record.body["log"]) == ("P", "ab")


def test_cri_accepts_a_time_without_fraction() -> None:
    [record] = joined(["cri"], ["2020-01-01T00:00:00Z stdout F c"])

    assert (record.body["log"], record.time_ns) == ("c", 1577836800_000000000)


def test_a_file_may_mix_docker_and_cri() -> None:
    with_attributes = '{"log":"d\\n","stream":"stdout","attrs":{"k":"v"}}'

    records = joined(["docker", "cri"], [cri("F c"), with_attributes, cri("F e")])

    assert texts(records) == ["c", "d\n", "e"]
    assert records[1].body["attrs"] == {"k": "v"}


def test_long_docker_parts_on_two_streams_are_joined() -> None:
    part = "x" * 16384
    lines = [
        docker("one\\n"),
        docker(part),
        docker("err\\n", "stderr"),
        docker("rest\\n"),
        docker("two\\n"),
        docker("more\\n", "stderr"),
        docker("last\\n"),
    ]

    assert texts(joined(["docker"], lines)) == ["one\n", "err\n", part + "rest\n", "two\n", "more\n", "last\n"]


def test_interleaved_cri_parts_are_joined_by_stream() -> None:
    steps = ["F 1", "P 2a", "P 2b", "F 2c", "F 3", "P 4", "F 4", "F 5"]
    lines = [cri(step, stream) for step in steps for stream in ("stdout", "stderr")]

    records = joined(["cri"], lines)

    assert [r.body["log"] for r in records if r.body["stream"] == "stdout"] == ["1", "2a2b2c", "3", "44", "5"]
    assert [r.body["log"] for r in records if r.body["stream"] == "stderr"] == ["1", "2a2b2c", "3", "44", "5"]


def test_key_content_names_the_field_and_adds_no_newline() -> None:
    named = rules(*DATED_RULES, key_content="msg")

    records = joined([named], ["2020- a", "  b", "z"])

    assert [r.body for r in records] == [{"msg": "2020- a\n  b"}, {"msg": "z"}]


def test_key_content_joins_parts_without_newlines() -> None:
    [record] = joined([endswith(";", key_content="foo")], ["a", "b;"])

    assert record.body == {"foo": "ab;"}


def test_a_sub_parser_gives_the_fields_of_the_record() -> None:
    definition = rules('"start_state" "/^S/" "c"', '"c" "/^ /" "c"', key_content="log", parser=PairsParser())

    records = joined([definition], ["log=S1,k=1", "log= c,k=2", "log=S2,k=3", "x=1"])

    assert [r.body for r in records] == [{"log": "S1\n c", "k": "1"}, {"log": "S2", "k": "3"}, {"log": "x=1"}]


def test_key_pattern_is_what_is_compared() -> None:
    definition = equal("END", key_content="log", key_pattern="k", parser=PairsParser())

    records = joined([definition], ["log=a,k=x", "log=b;,k=END", "log=c,k=y"])

    assert [r.body for r in records] == [{"log": "ab;", "k": "x"}, {"log": "c", "k": "y"}]


def test_key_group_joins_each_value_apart() -> None:
    definition = endswith(";", key_content="log", key_group="g", parser=PairsParser())

    records = joined([definition], ["log=a,g=x", "log=b;,g=y", "log=c;,g=x"])

    assert [r.body for r in records] == [{"log": "b;", "g": "y"}, {"log": "ac;", "g": "x"}]


def test_values_beyond_the_sixth_group_share_the_default_group() -> None:
    definition = endswith(";", key_content="log", key_group="g", parser=PairsParser())
    first = [f"log={name},g={name}" for name in "abcdefg"]
    then = [f"log={name};,g={name}" for name in "abcde"]

    records = joined([definition], first + then)

    assert sorted(texts(records)) == ["aa;", "bb;", "cc;", "dd;", "ee;", "fg"]


def test_a_message_that_leads_to_a_start_rule_is_emitted_once() -> None:
    closing = rules('"start_state" "/^S/" "c"', '"c" "/^E/" "start_state"', key_content="log", parser=PairsParser())

    records = joined([closing], ["log=S,n=1", "log=E,n=2", "x=3"])

    assert [r.body for r in records] == [{"log": "S\nE", "n": "1"}, {"log": "x=3"}]


def test_a_completed_message_does_not_wait() -> None:
    joiner = joiner_of("python")
    feed(joiner, [*TRACE, "ValueError: bad"])

    assert texts(joiner.take()) == [whole([*TRACE, "ValueError: bad"])]


@pytest.mark.parametrize("time_ns", [0, -5, 2**32 * 1_000_000_000])
def test_a_time_that_no_record_can_have_becomes_now(time_ns: int) -> None:
    definition = equal("END", key_content="log", parser=PairsParser(time_ns))

    records = joined([definition], ["log=END", "log=a"])

    assert [r.time_ns for r in records] == [NOW_NS, NOW_NS]


def test_joined_lines_without_fields_have_the_time_of_the_last_one() -> None:
    times = iter([1, 2, 3])
    joiner = Joiner([DATED], 0, lambda: next(times))
    feed(joiner, ["2020- a", "  b"])

    [record] = finish(joiner)

    assert record.time_ns == 2
