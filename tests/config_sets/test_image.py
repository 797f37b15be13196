"""The Dockerfile, carried out without an engine: paths, the choice of the interpreter, and what is left out."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.components.shipper_process import REPOSITORY

from .image import Image, below, build, steps_of
from .mounted import CONFIG, dry_run, remarks

CHOICES = {
    "-all": "python3",
    "-all,+chown": "python3",
    "-all,+dac_read_search": "python3-reads-all",
    "-all,+dac_override": "python3-owns-all",
    "-all,+chown,+dac_override,+fowner": "python3-owns-all",
    "-all,+dac_override,+dac_read_search": "python3-owns-all",
    "-all,+chown,+dac_read_search": "python3-reads-all",
    "+all": "python3-owns-all",
}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give rights away")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(tmp_path_factory.mktemp("image") / "tree", is_quick=True)


def run(*words: object) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60, check=True, cwd="/")
    return done.stdout


def test_the_program_is_where_fluent_bit_is(image: Image) -> None:
    assert image.settings["ENTRYPOINT"] == '["/fluent-bit/bin/fluent-bit"]'
    assert run(image.program, "--version").splitlines() == run(image.root / "usr/local/bin/shipper", "-V").splitlines()
    assert "shipper" in run(image.program, "--version")


def test_the_configuration_of_an_image_without_a_config_map_is_accepted(image: Image) -> None:
    etc = image.root / "fluent-bit" / "etc"

    status, told = dry_run(etc / "fluent-bit.conf", {}, program=image.program)

    assert (status, remarks(told)) == (0, [])
    assert (etc / "parsers.conf").read_text() == (CONFIG / "parsers.conf").read_text()


def test_a_module_in_the_current_folder_is_not_run(image: Image, tmp_path: Path) -> None:
    (tmp_path / "shipper.py").write_text("raise SystemExit('not ours')\n")

    done = subprocess.run([image.program, "--version"], cwd=tmp_path, capture_output=True, timeout=60, check=False)

    assert done.returncode == 0


@needs_root
@pytest.mark.parametrize(("capabilities", "interpreter"), CHOICES.items())
def test_the_interpreter_is_the_one_that_may_what_the_pod_may(capabilities: str, interpreter: str) -> None:
    assert chosen(["--reuid=10001", "--regid=10001", "--clear-groups", f"--bounding-set={capabilities}"]) == interpreter


@needs_root
def test_root_needs_no_other_interpreter() -> None:
    assert chosen(["--bounding-set=-all,+dac_read_search"]) == "python3"


def chosen(rights: list[str]) -> str:
    """Which interpreter `launch` runs; here each is a script that says its name."""
    with tempfile.TemporaryDirectory() as name_of_root:
        root = Path(name_of_root)
        root.chmod(0o755)
        folder = root / "opt" / "shipper" / "bin"
        folder.mkdir(parents=True)
        for name in {*CHOICES.values(), "launch"}:
            text = (CONFIG / "docker" / "launch").read_text() if name == "launch" else f"#!/bin/sh\necho {name}\n"
            (folder / name).write_text(below(root, text))
            (folder / name).chmod(0o755)
        return run("setpriv", *rights, folder / "launch", "-c", "x.conf").strip()


def test_nothing_that_is_copied_is_hidden_from_the_engine() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    steps = [step.rest.split() for step in steps_of((REPOSITORY / "Dockerfile").read_text()) if step.word == "COPY"]
    sources = [name for words in steps if not words[0].startswith("--from") for name in words[:-1]]

    assert sources and patterns[0] == "*"
    for name in sources:
        assert (REPOSITORY / name).exists()
        shown = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
        assert any(fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}/") for pattern in shown), name


@pytest.mark.soak
def test_the_whole_image_runs_with_packages_of_its_own(tmp_path: Path) -> None:
    """With the network: what pip takes, the binding to the journal compiled, and no package of this environment."""
    image = build(tmp_path / "tree")
    python = image.root / "opt" / "shipper" / "bin" / "python3"
    source = "[INPUT]\n    name dummy\n    samples 1\n[OUTPUT]\n    name stdout\n    match *\n"
    (tmp_path / "x.conf").write_text(source)
    with subprocess.Popen([image.program, "-c", tmp_path / "x.conf"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("dummy" in line for line in process.stdout)
        process.terminate()

    assert process.returncode == 0
    assert run(python, "-c", "import systemd.journal, lupa, shipper; print(shipper.__file__)").startswith(
        str(image.root)
    )
    assert not any(list(image.root.rglob(name)) for name in ("gcc*", "pip", "setuptools"))
