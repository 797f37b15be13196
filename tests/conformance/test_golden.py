"""Conformance: recorded cases of Fluent Bit give the same result here, except where we decided otherwise.

The normal suite runs the cases of the classic configuration format; `make conformance` runs all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.golden import (
    DIFFERENCES,
    Result,
    golden_folder,
    judge,
    read_differences,
    run_cases,
    tally,
    with_links,
)

_TOLD = """\
ok config/comments
DIFFERS config/quotes-are-text: Quotes stay.
--- expected
+++ got
-ok
ERROR tail/rename: TimeoutExpired('x')
NOT RECORDED tail/new
ok tail/symlink
3 passed, 2 failed
"""


def test_classic_configurations_behave_as_recorded() -> None:
    golden = golden_folder()
    if not (golden / "golden.py").exists():
        pytest.skip(f"the recorded cases live outside the repository and are not in {golden}")
    cases = sorted(file.parent for file in (golden / "config").glob("*/pipe.conf"))

    results = judge(run_cases(golden, cases, jobs=4), read_differences())

    assert len(results) == len(cases) > 0
    assert not [f"{r.outcome}: {r.told}" for r in results if not r.is_fine]


def test_outcomes_are_read_from_the_runners_words() -> None:
    results = judge(_TOLD, {"tail/rename": "wanted", "tail/symlink": "wanted"})

    assert [(r.case, r.outcome) for r in results] == [
        ("config/comments", "passed"),
        ("config/quotes-are-text", "failed"),
        ("tail/rename", "excused"),
        ("tail/new", "failed"),
        ("tail/symlink", "passed unexpectedly"),
    ]
    assert results[1].told.endswith("+++ got\n-ok")


def test_a_listed_case_that_passes_is_not_fine() -> None:
    assert not Result("tail/symlink", "passed unexpectedly").is_fine
    assert Result("tail/rename", "excused").is_fine


def test_the_tally_counts_each_area_and_all() -> None:
    lines = [line.split() for line in tally(judge(_TOLD, {"tail/rename": "wanted"})).splitlines()]

    assert lines == [
        ["area", "passed", "excused", "failed"],
        ["config", "1", "0", "1"],
        ["tail", "1", "1", "1"],
        ["all", "2", "1", "2"],
    ]


def test_every_listed_difference_has_a_reason() -> None:
    assert all("/" in case and len(reason) > 20 for case, reason in read_differences(DIFFERENCES).items())


def test_the_folder_of_cases_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDEN", str(tmp_path))

    assert golden_folder() == tmp_path
    assert golden_folder("/elsewhere") == Path("/elsewhere")


def test_links_that_a_checkout_made_files_of_are_links_again(tmp_path: Path) -> None:
    case = tmp_path / "golden" / "tail" / "link"
    (case / "input" / "pods").mkdir(parents=True)
    (case / "input" / "containers").mkdir()
    (case / "input" / "pods" / "0.log").write_text("one\n")
    (case / "input" / "containers" / "web.log").write_text("../pods/0.log")

    golden = with_links(tmp_path / "golden", tmp_path / "copy")

    assert (golden / "tail" / "link" / "input" / "containers" / "web.log").read_text() == "one\n"
    assert with_links(golden, tmp_path / "again") == golden
