"""Every rule of the built-in multiline definitions: the lines that one of them takes, and near misses."""

from __future__ import annotations

import pytest

from .joining import joined, texts

JAVA = "x.FooException: a"
AT = "\tat a.B.c(B.java:1)"
GO = ["panic: boom", "", "goroutine 1 [running]:"]
PYTHON = "Traceback (most recent call last):"
RUBY = "a.rb:1:in `x': boom (RuntimeError)"

ONE_RECORD = [
    # java: the start
    ("java", ["java.io.FooException: a", AT]),
    ("java", ["java.lang.OutOfMemoryError: heap", AT]),
    ("java", ["x Throwable: a", AT]),
    ("java", ["== V8 errors stack trace: x", AT]),
    # java: what follows the start, or a cause
    ("java", [JAVA, "", AT]),
    ("java", [JAVA, "\r", AT]),
    ("java", [JAVA, "  eval at q (x.js:1)"]),
    ("java", [JAVA, " at q"]),
    ("java", [JAVA, "\t--- End of inner exception stack trace ---", AT]),
    ("java", [JAVA, "--- End of stack trace from previous location where exception was thrown ---", AT]),
    ("java", [JAVA, "Caused by: y", AT]),
    ("java", [JAVA, "\tSuppressed: y", AT]),
    ("java", [JAVA, AT, "\t... 12 more"]),
    ("java", [JAVA, AT, "... 3 common frames omitted"]),
    # java: what follows a frame
    ("java", [JAVA, AT, AT, "\teval at x"]),
    ("java", [JAVA, AT, " --- End of inner exception stack trace ---", AT]),
    ("java", [JAVA, AT, "--- End of stack trace from previous location where exception was thrown ---", AT]),
    ("java", [JAVA, AT, "Caused by: y", "", AT]),
    ("java", [JAVA, AT, "Suppressed: y", AT, "\t... 1 more", "Caused by: z", AT]),
    # go
    ("go", [*GO, "main.f(0x1)", "\t/a.go:1"]),
    ("go", ["x panic: boom", "", "goroutine 12 [chan receive, 3 minutes]:", "main.f(0x1)", "\t/a.go:1"]),
    ("go", ["http: panic serving 1.2.3.4:5: x", "goroutine 1 [running]:", "main.f()", "\t/a.go:1"]),
    ("go", ["panic: boom", "[signal SIGSEGV: x]", "", "goroutine 1 [running]:", "f(", " x"]),
    ("go", [*GO, "a/b.c.d.f(0x1)", "\t/a.go:1", "created by main.g", "\t/b.go:2"]),
    ("go", [*GO, "main.f()", "\t/a.go:1", "", "goroutine 2 [select]:", "main.g()", "\t/b.go:1"]),
    # python
    ("python", [PYTHON, '  File "a.py", line 1, in f', "    x()", '\tFile "b.py"', "\ty()", "ValueError: bad"]),
    ("python", [PYTHON, '  File "a.py"', "x", "a.b.Error:"]),
    # ruby
    ("ruby", [RUBY, "\tfrom b.rb:2:in `y'", "  from c.rb:3:in  z"]),
]
APART = [
    ("java", ["Exception: nothing before it", AT]),
    ("java", ["x.FooException", AT]),
    ("java", [JAVA, "at q, without a blank before it"]),
    ("java", [JAVA, "... many more"]),
    ("java", [JAVA, AT, "", AT]),
    ("java", ["Caused by: y", AT]),
    ("go", ["panicked: boom", ""]),
    ("go", ["panic: boom", "goroutine 1 [running]:"]),
    ("go", [*GO[:2], "goroutine x [running]:"]),
    ("python", ["Traceback (most recent call last): x", '  File "a.py"']),
    ("python", [PYTHON, 'File "a.py"']),
    ("ruby", ["a.rb:x:in `y'", "\tfrom b.rb:2:in `y'"]),
    ("ruby", [RUBY, "from b.rb:2:in `y'"]),
]


@pytest.mark.parametrize(("name", "lines"), ONE_RECORD)
def test_lines_that_the_rules_take_are_one_record(name: str, lines: list[str]) -> None:
    records = joined([name], ["before", *lines, "after"])

    assert texts(records) == ["before\n", "\n".join(lines) + "\n", "after\n"]


@pytest.mark.parametrize(("name", "lines"), APART)
def test_a_line_that_misses_the_rules_begins_a_record(name: str, lines: list[str]) -> None:
    *first, last = lines

    records = joined([name], lines)

    assert texts(records)[-1] in (f"{last}\n", f"{first[-1]}\n")
    assert "\n".join(lines) + "\n" not in texts(records)


def test_a_nested_exception_completes_its_message() -> None:
    records = joined(["java"], [JAVA, "  nested exception is: y", AT])

    assert texts(records) == [f"{JAVA}\n  nested exception is: y\n", f"{AT}\n"]


def test_a_nested_exception_may_begin_a_new_one() -> None:
    records = joined(["java"], [JAVA, "nested exception is: y", "x.BarException: b", AT])

    assert texts(records) == [f"{JAVA}\nnested exception is: y\n", f"x.BarException: b\n{AT}\n"]


@pytest.mark.parametrize("name", ["docker", "cri"])
@pytest.mark.parametrize(
    "line", ['{"log":5}', '{"log":null}', '{"log":{"a":"b"}}', "[1]", '{"log":"open', "2026-01-01 stdout f x", "F x"]
)
def test_a_line_of_another_form_stands_alone(name: str, line: str) -> None:
    records = joined([name], [line])

    assert [r.body for r in records] == [{"log": line}]
