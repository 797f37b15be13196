"""checklist: which values are on a list, and what is set then."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.errors import ConfigError, OptionError
from shipper.filters.checklist import ChecklistFilter, ChecklistOptions
from shipper.record import Body, Record, RecordBatch
from shipper.testing import BlockContent, context_of

from ..written_options import options_from


async def checked(folder: Path, listed: bytes, lines: str, *bodies: Body) -> list[Body]:
    file = folder / "list.txt"
    file.write_bytes(listed)
    one = ChecklistFilter(options_from(ChecklistOptions, f"file {file}\n{lines}"), context_of("filter"))
    await one.open()
    left = one.apply(RecordBatch("t", [Record(0, dict(body)) for body in bodies], 10))
    return [r.body for r in left] if left else []


LIST = b"# a comment\r\n\nfoo\r\n10.0.0.\n"


async def test_fields_are_set_at_the_end(tmp_path: Path) -> None:
    found = await checked(tmp_path, LIST, 'record m true\nrecord q "a b"', {"m": 0, "log": "foo"}, {"log": "FOO"}, {})

    assert [list(body.items()) for body in found] == [
        [("log", "foo"), ("m", True), ("q", "a b")],
        [("log", "FOO")],
        [],
    ]


@pytest.mark.parametrize(
    ("listed", "lines", "value", "is_listed"),
    [
        (LIST, "", "foo", True),
        (LIST, "", "foox", False),
        (LIST, "", "# a comment", False),
        (LIST, "", "", False),
        (LIST, "", 5, False),
        (LIST, "ignore_case on", "FOO", True),
        (LIST, "mode partial", "10.0.0.5", True),
        (LIST, "mode partial", "x10.0.0.5", False),
        (LIST, "mode partial", "FOOx", False),
        (LIST, "mode partial\nignore_case on", "FOOx", True),
        (b"a%c", "mode partial", "abbcd", True),
        (b"a%c", "mode partial", "ab", False),
        (b"a_c", "mode partial", "a.cd", True),
        (b"a_c", "mode partial", "ac", False),
        (b"A_c", "mode partial\nignore_case on", "axC", True),
        (b"a.c", "mode partial", "abc", False),
    ],
)
async def test_what_is_on_the_list(tmp_path: Path, listed: bytes, lines: str, value: object, is_listed: bool) -> None:
    found = await checked(tmp_path, listed, f"{lines}\nrecord hit null".strip(), {"log": value})

    assert found == [{"log": value, "hit": None} if is_listed else {"log": value}]


async def test_a_value_may_be_in_a_map(tmp_path: Path) -> None:
    found = await checked(tmp_path, LIST, "lookup_key $a['b']\nrecord hit false", {"a": {"b": "foo"}})

    assert found == [{"a": {"b": "foo"}, "hit": False}]


async def test_a_batch_without_listed_values_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("foo\n")
    one = ChecklistFilter(options_from(ChecklistOptions, f"file {tmp_path}/list"), context_of("filter"))
    await one.open()
    content = BlockContent([{"log": "bar"}])
    left = one.apply(RecordBatch("t", content, 10))

    assert left is not None and left.content is content


@pytest.mark.parametrize(
    ("listed", "lines"),
    [(b"x" * 2047, ""), (b"", "record a"), (b"", "mode fuzzy"), (b"", "lookup_key $a["), (b"", "file /nowhere")],
)
async def test_mistakes_are_told(tmp_path: Path, listed: bytes, lines: str) -> None:
    with pytest.raises((ConfigError, OptionError)):
        await checked(tmp_path, listed, lines, {})


def test_a_missing_file_is_told() -> None:
    with pytest.raises(OptionError, match="cannot be read"):
        ChecklistFilter(options_from(ChecklistOptions, "file /nowhere/list"), context_of("filter"))
