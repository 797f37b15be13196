"""What is measured: our shipper, and another one beside it that reads the same configuration."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

# Whatever is measured may look for these.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_EC2_METADATA_DISABLED": "true"}


class Program(msgspec.Struct, frozen=True):
    """A command to measure; `{conf}` in a word of it stands for the configuration file."""

    words: tuple[str, ...]
    is_peer: bool = False

    @property
    def name(self) -> str:
        return Path(self.words[0]).name

    def arguments(self, configuration: Path) -> list[str]:
        return [word.replace("{conf}", str(configuration)) for word in self.words]

    def __str__(self) -> str:
        return shlex.join(self.words)


def own_program(command: str | None = None) -> Program:
    """The shipper of this environment, or the command in its place."""
    if command is not None:
        return Program(tuple(shlex.split(command)))
    return Program((str(Path(sys.executable).with_name("shipper")), "-c", "{conf}"))


def find_peer(path: str | None) -> Program | None:
    """The program at this path, else Fluent Bit if it is there; raises `FileNotFoundError` for a wrong path."""
    found = shutil.which(path or "fluent-bit")
    if found is not None:
        return Program((found, "-c", "{conf}"), is_peer=True)
    if path is not None:
        raise FileNotFoundError(f"there is no program {path}")
    return None


def version_of(program: Program) -> str:
    """What the program says of its version, in its first line."""
    told = subprocess.run([program.words[0], "--version"], capture_output=True, text=True, timeout=20, check=False)
    return next(iter((told.stdout or told.stderr).splitlines()), "").strip()


def in_turns(ours: Program, peer: Program | None, repeat: int) -> Sequence[Program]:
    """Who runs when: ours, the peer, ours, the peer and so on, so that a slow hour meets both."""
    return [program for _ in range(repeat) for program in (ours, peer) if program is not None]
