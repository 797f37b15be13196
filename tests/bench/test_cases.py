"""Cases are read from their files, and nothing in these is overlooked."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from bench.cases import Case, CaseKind, all_cases, read_case


def write_case(folder: Path, name: str, text: str) -> Path:
    file = folder / name / "case.toml"
    file.parent.mkdir()
    file.write_text(text)
    return file


def test_a_case_has_the_name_of_its_folder_and_what_its_file_says(tmp_path: Path) -> None:
    text = 'about = "a -> b"\ncorpus = "hundred"\nto_reach = 0.8\ncores = 1\nwanted = { lost = 0 }'

    case = read_case(write_case(tmp_path, "a_b", text))

    assert case == Case("a_b", "a -> b", corpus="hundred", to_reach=0.8, cores=1, wanted={"lost": 0})


@pytest.mark.parametrize(
    "text",
    ['about = "x"\ncorpse = "two"', 'about = "x"\nkind = "drian"', 'corpus = "two"'],
    ids=["unknown word", "unknown kind", "nothing about it"],
)
def test_a_mistake_in_a_case_is_an_error(tmp_path: Path, text: str) -> None:
    file = write_case(tmp_path, "wrong", text)

    with pytest.raises(msgspec.ValidationError):
        read_case(file)


def test_cases_that_drain_a_corpus_come_first(tmp_path: Path) -> None:
    write_case(tmp_path, "a", 'about = "x"\nkind = "idle"')
    write_case(tmp_path, "z", 'about = "x"')
    write_case(tmp_path, "m", 'about = "x"')

    assert [case.name for case in all_cases(tmp_path)] == ["m", "z", "a"]


def test_there_is_a_case_of_every_kind_and_each_has_a_configuration() -> None:
    cases = all_cases()

    assert {case.kind for case in cases} == set(get_args(CaseKind))
    assert all(case.configuration.exists() for case in cases)


def test_a_case_that_does_not_drain_a_corpus_says_how_many_files_it_has() -> None:
    without = [c.name for c in all_cases() if c.kind not in ("drain", "backlog") and not c.files]

    assert without == []
