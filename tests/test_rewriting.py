"""What rewrite_tag filters are to each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.cli import load_pipeline
from shipper.command_line import parse_command_line
from shipper.rewriting import may_fit_both
from shipper.router import match_tag

SIGNS = st.text("ab.*", max_size=6)


def remarks(folder: Path, *filters: tuple[str, str]) -> list[str]:
    """What is said at the start about filters with these matches and new tags."""
    file = folder / "shipper.conf"
    sections = [f"[FILTER]\nname rewrite_tag\n{match}\nrule $log ^ {tag} false\n" for match, tag in filters]
    file.write_text("[INPUT]\nname dummy\n" + "".join(sections) + "[OUTPUT]\nname null\nmatch *\n")
    warnings: list[str] = []
    load_pipeline(parse_command_line(["-c", str(file)]), {}, warnings)
    return [warning.partition("circle: ")[2].partition(";")[0] for warning in warnings if "circle" in warning]


@pytest.mark.parametrize(
    ("filters", "ways"),
    [
        ([("match a", "b"), ("match b", "a")], ["a -> b -> a"]),
        ([("match a.*", "b.$TAG[1]"), ("match b.*", "c"), ("match c", "a.x")], ["a.* -> b.$TAG[1] -> c -> a.x"]),
        ([("match a", "b"), ("match b", "c")], []),
        ([("match a", "a")], []),
        ([("match a.*", "b.$TAG"), ("match *.x", "a.$1")], ["a.* -> b.$TAG -> a.$1"]),
        ([("match a.*", "b.$TAG"), ("match c.*", "a.$1")], []),
        ([("match_regex ^a", "b"), ("match_regex ^b", "ab")], ["^a -> b -> ab"]),
        ([("match a", "b"), ("match b", "a"), ("match c", "d"), ("match d", "c")], ["a -> b -> a", "c -> d -> c"]),
    ],
)
def test_w4_circles_of_tags_are_told_with_the_way_round(
    tmp_path: Path, filters: list[tuple[str, str]], ways: list[str]
) -> None:
    assert remarks(tmp_path, *filters) == ways


@given(SIGNS, SIGNS, st.text("ab.", max_size=6))
def test_two_globs_that_fit_one_text_may_fit_both(one: str, two: str, text: str) -> None:
    if match_tag(one)(text) and match_tag(two)(text):
        assert may_fit_both(one, two)


@given(st.text("ab.", max_size=6), SIGNS)
def test_a_glob_without_stars_fits_what_it_says(text: str, glob: str) -> None:
    assert may_fit_both(text, glob) == may_fit_both(glob, text) == match_tag(glob)(text)
