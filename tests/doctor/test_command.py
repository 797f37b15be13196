"""The arguments of `shipper doctor`, what it prints, and its exit status."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.cli import main

FINE = "[INPUT]\n    name dummy\n    tag a\n[OUTPUT]\n    name null\n    match *\n"
POD = "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: shipper, image: shipper}]}\n"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with a configuration and a pod; loggers belong to the process, so each test puts them back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLB_LOG_LEVEL", raising=False)
    Path("c.conf").write_text(FINE)
    Path("p.yaml").write_text(POD)
    log = logging.getLogger("shipper")
    before = (log.handlers[:], log.level, log.propagate)
    yield
    log.handlers[:], log.level, log.propagate = before


def doctor(*words: str) -> int:
    return main(["doctor", *words])


@pytest.mark.parametrize(
    "words", [["-c", "c.conf"], ["-c", "c.conf", "p.yaml"], ["p.yaml", "p.yaml", "--config=c.conf"]]
)
def test_a_healthy_pod_gives_status_0(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert doctor(*words) == 0
    assert capsys.readouterr() == ("nothing to complain about\n", "")


def test_a_pod_that_is_not_gives_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.yaml").write_text(POD.replace("{containers", "{terminationGracePeriodSeconds: 4, containers"))

    assert doctor("-c", "c.conf", "p.yaml") == 1
    assert capsys.readouterr().out == (
        "warning: p.yaml, document 1 (Pod p): terminationGracePeriodSeconds is 4, but a stop takes up to 8: Grace 5, "
        "3 s to close - set terminationGracePeriodSeconds: 8, or Grace 1 in the SERVICE section\n1 warning\n"
    )


def test_warnings_of_the_configuration_count(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.conf").write_text("[SERVICE]\n    grase 3\n" + FINE)

    assert doctor("-c", "c.conf", "p.yaml") == 1
    told = capsys.readouterr()
    assert "c.conf:2: unknown key 'grase'" in told.err
    assert told.out == "1 warning\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[INPUT]\n    name dummy\n    rat 3\n", "unknown option 'rat' - did you mean 'rate'?"),
        ("[INPUT]\n    name tail\n    path /a\n    parser nobody\n", "parser 'nobody' is not registered"),
        ("@INCLUDE nope.conf\n", "could not open included file 'nope.conf'"),
    ],
)
def test_a_configuration_that_cannot_be_loaded_gives_status_255(
    capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    Path("c.conf").write_text(text)

    assert doctor("-c", "c.conf", "p.yaml") == 255
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-c", "nope.conf"], ["-c", "c.conf", "-w", "nowhere"]])
def test_missing_files_of_the_configuration_give_status_255(words: list[str]) -> None:
    assert doctor(*words) == 255


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name a configuration file with -c"),
        (["p.yaml"], "name a configuration file with -c"),
        (["-c"], "option -c requires argument"),
        (["--nonsense"], "option --nonsense not recognized"),
        (["aws", "-c", "c.conf", "p.yaml"], "'p.yaml' is too much"),
        (["-c", "c.conf", "-V"], "it starts nothing and prints nothing else"),
    ],
)
def test_wrong_arguments_give_status_2(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    assert doctor(*words) == 2
    assert capsys.readouterr().err.startswith(f"shipper doctor: {told}")


def test_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("--help") == 0
    assert capsys.readouterr().out.startswith("usage: shipper doctor -c FILE [MANIFEST.yaml ...]")


def test_plugins_on_the_command_line_do_without_a_file() -> None:
    assert doctor("-i", "dummy", "-o", "null", "-m", "*", "p.yaml") == 0


def test_manifests_without_any_pod_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.yaml").write_text("kind: Service\n")

    assert doctor("-c", "c.conf", "p.yaml") == 1
    assert "warning: p.yaml: no pods are described here" in capsys.readouterr().out


def test_manifests_that_cannot_be_read_are_told_beside_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("-c", "c.conf", "nope.yaml", "p.yaml") == 1
    assert "warning: nope.yaml: cannot be read: No such file or directory" in capsys.readouterr().out


def test_without_outputs_to_aws_there_is_nothing_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("aws", "-c", "c.conf") == 0
    assert capsys.readouterr().out == "no output goes to AWS\nnothing to complain about\n"


def test_words_elsewhere_are_still_ignored_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", "c.conf", "--dry-run", "doctor"]) == 0
    assert "argument 'doctor' is ignored" in capsys.readouterr().err
