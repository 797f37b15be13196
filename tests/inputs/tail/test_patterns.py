"""Patterns mean what they mean to the C library."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.inputs.tail.patterns import PathPattern, Wanted, compile_pattern

LIBC = ctypes.CDLL(None)
FNM_PATHNAME = 1
FNM_PERIOD = 4

PARTS = ["*", "?", "[^0-9]", "[!a]", "[[:digit:]]", "[[:alpha:]_]", "[^[:space:]]", "[a-c]", "[c-a]", "[]a]", "[a-]"]
PARTS += [r"\*", r"\[", r"[a\]b]", "[[.-.]]", "[[=a=]b]", "[", "]", "-", "a", "b", "0", ".", "/", "_", " "]


def by_c(pattern: str, text: str, flags: int = 0) -> bool:
    return bool(LIBC.fnmatch(pattern.encode(), text.encode(), flags) == 0)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.log.[[:digit:]]", "/v/a.log.1"),
        ("*/a[^0-9].log", "/v/ab.log"),
        (r"*/a\*.log", "/v/a*.log"),
        (r"*/a\[1\].log", "/v/a[1].log"),
        ("*/a[!0-9].log", "/v/ab.log"),
        ("*/a[", "/v/a["),
    ],
)
def test_a_pattern_matches_as_in_c(pattern: str, path: str) -> None:
    found = compile_pattern(pattern).match(path)

    assert found is not None
    assert by_c(pattern, path)


@given(
    st.lists(st.sampled_from(PARTS), max_size=4).map("".join).filter(lambda p: p.count("[") == p.count("]")),
    st.text("ab0.*]-/[_ ", max_size=4),
)
def test_any_pattern_matches_as_in_c(pattern: str, text: str) -> None:
    anywhere = compile_pattern(pattern).match(text) is not None
    by_parts = PathPattern(pattern).matches(text)

    assert (anywhere, by_parts) == (by_c(pattern, text), by_c(pattern, text, FNM_PATHNAME | FNM_PERIOD))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a[^0-9].log", ["a*.log", "ab.log"]),
        ("a[[:digit:]].log", ["a1.log"]),
        (r"a\*.log", ["a*.log"]),
        (r"sub\*/*.log", ["sub*/c.log"]),
        ("*.log", ["a*.log", "a1.log", "ab.log"]),
        (".*.log", [".hidden.log"]),
        ("s*/c.log", ["sub*/c.log"]),
        ("s*/d.log", []),
        ("none*/*", []),
        ("a1.log/*", []),
        ("s*/", ["sub*/"]),
    ],
)
def test_files_are_found_by_patterns_of_c(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    (tmp_path / "sub*").mkdir()
    for name in ("ab.log", "a1.log", "a*.log", ".hidden.log", "sub*/c.log"):
        (tmp_path / name).touch()

    found = PathPattern(f"{tmp_path}/{pattern}").paths()

    assert [path.removeprefix(f"{tmp_path}/") for path in found] == expected


def test_names_that_are_no_utf8_are_found(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.log"
    with open(name, "w"):
        pass

    found = PathPattern(f"{tmp_path}/caf?.log").paths()

    assert found == [os.fsdecode(name)]


def test_a_path_is_wanted_by_its_name_alone() -> None:
    wanted = Wanted(["/v/*.log", "/w/a.log"], ["*/b[[:digit:]]*"])

    paths = ["/v/a.log", "/v/b1.log", "/v/sub/a.log", "/w/a.log", "/w/b.log"]

    assert [path for path in paths if path in wanted] == ["/v/a.log", "/w/a.log"]


@pytest.mark.parametrize("pattern", ["*.log", "?a.log", "[.]a.log", ".*.log", ".a.log", "\\.a*"])
def test_a_hidden_name_is_wanted_where_it_is_found(tmp_path: Path, pattern: str) -> None:
    path = tmp_path / ".a.log"
    path.touch()
    wanted = PathPattern(f"{tmp_path}/{pattern}")

    assert wanted.matches(str(path)) == (wanted.paths() == [str(path)])
    assert wanted.matches(str(path)) == (pattern[0] in ".\\")
