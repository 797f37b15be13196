"""Carries out the Dockerfile without an engine: every stage in a folder of its own, with the commands written there.

    python -m tests.config_sets.image FOLDER     make the image's files below FOLDER, with packages from the network

A stage's root is a folder, so the paths that belong to us (`OURS`) are rewritten to lie below it, in commands and in
the texts that are copied. What would change this machine instead (its packages, its own files) is not run; `skipped`
tells of it. With `is_quick` nothing is taken from the network, and there is no pip: the package is copied to where it
would be installed, and dependencies are those of the running interpreter.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.components.shipper_process import REPOSITORY

OURS = ("/opt/shipper", "/src", "/fluent-bit", "/usr/local/bin/shipper", "/var/lib/shipper")
_OUR_PATH = re.compile(rf"(?<![\w./])(?=(?:{'|'.join(map(re.escape, OURS))})(?![\w-]))")
_OF_THE_MACHINE = re.compile(r"apt-get |rm -rf /var/lib/apt|pip uninstall|find / ")
_PIP = re.compile(r"/opt/shipper/bin/pip (install|uninstall) ")
_VENV = "-m venv "
_SITE = "lib/python3.11/site-packages"
_PATIENCE_S = 900


class Step(msgspec.Struct, frozen=True):
    """One instruction: its word, and the rest with continued lines joined."""

    word: str
    rest: str


class Image(msgspec.Struct):
    """What came of the last stage: the root of its files, its settings, and the commands that were not run."""

    root: Path
    settings: dict[str, str]
    skipped: list[str]

    @property
    def program(self) -> Path:
        return self.root / "fluent-bit" / "bin" / "fluent-bit"


def steps_of(text: str) -> list[Step]:
    """The instructions of a Dockerfile, in order."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = "\n".join(lines).replace("\\\n", " ")
    return [Step(*line.strip().split(None, 1)) for line in joined.splitlines() if line.strip()]


def build(folder: Path, *, is_quick: bool = False) -> Image:
    """Carry out the Dockerfile below a folder that does not exist yet; earlier stages are gone afterwards."""
    stages: dict[str, Path] = {}
    image = Image(folder, {}, [])
    for step in steps_of((REPOSITORY / "Dockerfile").read_text()):
        if step.word == "FROM":
            name = step.rest.partition(" AS ")[2] or "image"
            image = Image(folder / name, {}, image.skipped)
            (image.root / "usr" / "local" / "bin").mkdir(parents=True)  # the base image has it
            stages[name] = image.root
        elif step.word == "RUN":
            _run(step.rest, image, is_quick)
        elif step.word == "COPY":
            _copy(step.rest, image.root, stages)
        elif step.word in ("ARG", "ENV"):
            pairs = (word.partition("=") for word in shlex.split(step.rest))
            image.settings.update({name: value for name, _, value in pairs})
        else:
            image.settings[step.word] = step.rest
    for root in stages.values():
        if root != image.root:
            shutil.rmtree(root)
    return image


def _run(command: str, image: Image, is_quick: bool) -> None:
    kept = []
    for part in _commands(command):
        if _OF_THE_MACHINE.match(part):
            image.skipped.append(part)
        elif is_quick and (found := _PIP.match(part)):
            image.skipped.append(part)
            if found[1] == "install":
                _install_by_copying(image.root)
        else:
            kept.append(part.replace(_VENV, f"{_VENV}--without-pip ") if is_quick else part)
    if not kept:
        return
    subprocess.run(
        ["/bin/sh", "-ec", below(image.root, " && ".join(kept))],
        env={**_environment(), **image.settings},
        cwd=image.root,
        check=True,
        timeout=_PATIENCE_S,
    )


def _commands(command: str) -> Iterator[str]:
    """The commands that `&&` joins; a loop is one command."""
    return (part.strip() for part in command.split(" && "))


def _copy(rest: str, root: Path, stages: dict[str, Path]) -> None:
    words = rest.split()
    source = REPOSITORY
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")]
    *names, target = words
    for name in names:
        origin = source / name.lstrip("/")
        place = root / target.lstrip("/")
        if target.endswith("/"):
            place /= origin.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place.write_text(below(root, origin.read_text()))
            shutil.copymode(origin, place)


def below(root: Path, text: str) -> str:
    """A text with our paths as they are below a root."""
    return _OUR_PATH.sub(str(root), text)


def _environment() -> dict[str, str]:
    """A machine where nobody has set anything, but for the way to packages."""
    path = f"{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP"))}
    return {"HOME": "/nonexistent", "PATH": path, "PIP_NO_INPUT": "1", **kept}


def _install_by_copying(root: Path) -> None:
    """Put the package where pip would, let it find what it depends on, and make folders of botocore to tidy up."""
    site = root / "opt" / "shipper" / _SITE
    shutil.copytree(root / "src" / "shipper", site / "shipper")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    for service in ("ec2", "logs"):
        (site / "botocore" / "data" / service).mkdir(parents=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the files of the image without an engine.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="take dependencies from the running interpreter")
    options = parser.parse_args()
    image = build(options.folder.absolute(), is_quick=options.quick)
    subprocess.run([image.program, "--version"], check=True, timeout=_PATIENCE_S)
    print(f"made {image.root}")
    for command in image.skipped:
        print(f"not run here: {command}")


if __name__ == "__main__":
    main()
