"""Configuration sets as a pod sees them: mounted from a ConfigMap, with the host's paths below a folder of the test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.components.shipper_process import REPOSITORY, shipper_command

CONFIG = REPOSITORY / "config"

Replacements = Iterable[tuple[str, str]]


def mounted(name: str, folder: Path, replacements: Replacements = ()) -> Path:
    """Export a set file by file, with texts replaced, in the way the kubelet mounts a ConfigMap; gives the folder.

    Every file is a link to `..data`, which is a link to a folder whose name has the time. A text that occurs in no file
    of the set is an error: the test would not test what it says.
    """
    data = folder / "..2026_11_21_12_00_00.1"
    data.mkdir(parents=True)
    (folder / "..data").symlink_to(data.name)
    files = {path.name: path.read_text() for path in sorted((CONFIG / name).glob("*.conf"))}
    for old, new in replacements:
        assert any(old in text for text in files.values()), f"{name} has no {old!r}"
        files = {file: text.replace(old, new) for file, text in files.items()}
    for file, text in files.items():
        (data / file).write_text(text)
        (folder / file).symlink_to(f"..data/{file}")
    return folder


def dotted(folder: Path) -> str:
    """A path as it stands in tags."""
    return str(folder).replace("/", ".")


def host_paths(folder: Path) -> Replacements:
    """Moves the host's files, and what tags say of them, below a folder; `/var/fluent-bit` is the host's too."""
    yield ".var.log.containers.", f"{dotted(folder)}.var.log.containers."
    yield "/var/log/", f"{folder}/var/log/"
    yield "/var/fluent-bit/", f"{folder}/var/fluent-bit/"


def dry_run(configuration: Path, variables: Mapping[str, str], program: Path | None = None) -> tuple[int, str]:
    """What `--dry-run` says of a configuration, with the status."""
    done = subprocess.run(
        [program or shipper_command(), "-c", configuration, "--dry-run"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def remarks(told: str, *expected: str) -> list[str]:
    """The warnings and errors among what was told, but for those that are expected and the one of every stop."""
    lines = (line for line in told.splitlines() if "[ warn]" in line or "[error]" in line)
    return [line for line in lines if not any(words in line for words in ("service will shutdown", *expected))]


class Pods:
    """Container logs of a node as the kubelet lays them out: links in /var/log/containers to files of pods."""

    def __init__(self, root: Path) -> None:
        self._log = root / "var" / "log"
        (self._log / "containers").mkdir(parents=True)

    def write(self, pod: str, namespace: str, container: str, container_id: str, text: str) -> str:
        """Write the log of a container; gives the name of its link."""
        real = self._log / "pods" / f"{namespace}_{pod}_uid-{pod}" / container / "0.log"
        real.parent.mkdir(parents=True)
        real.write_text(text)
        link = self._log / "containers" / f"{pod}_{namespace}_{container}-{container_id}.log"
        link.symlink_to(real)
        return link.name
