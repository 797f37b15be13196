"""The cases: folders below `bench/pipelines` with a `case.toml` and a `shipper.conf`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from bench.corpus import Kind

PIPELINES = Path(__file__).with_name("pipelines")

CaseKind = Literal["drain", "steady", "idle", "start_up", "catch_up", "scaling", "backlog"]


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is measured, as a `case.toml` describes it."""

    name: str
    about: str
    kind: CaseKind = "drain"
    corpus: Kind = "two"
    # Yardsticks of CPU per record; other figures to reach are in `wanted`, by the names that the kind gives them.
    to_reach: float | None = None
    wanted: dict[str, float] = {}
    # Whether nginx takes the records, and how many bytes of each have to arrive there at least.
    sink: bool = False
    bytes_per_record: int = 0
    # Cores that the shipper may use; 0 for all.
    cores: int = 0
    # Whether the metadata of the corpus' pods are put as files into ${STATE}/metadata.
    metadata: bool = False
    # Numbers of files: one that lie idle or are written to, all that are measured one after the other.
    files: tuple[int, ...] = ()
    lines_per_s: int = 10_000
    line_bytes: int = 200

    @property
    def configuration(self) -> Path:
        return PIPELINES / self.name / "shipper.conf"


def all_cases(folder: Path = PIPELINES) -> list[Case]:
    """The cases in the order of their names, those that drain a corpus first."""
    cases = [read_case(file) for file in sorted(folder.glob("*/case.toml"))]
    return sorted(cases, key=lambda case: case.kind != "drain")


def read_case(file: Path) -> Case:
    """Read a `case.toml`; raises `msgspec.ValidationError` where it is not as it should be."""
    return msgspec.convert({"name": file.parent.name, **tomllib.loads(file.read_text())}, Case)
