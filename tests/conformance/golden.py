"""Runs recorded cases against the shipper and sets the outcome beside the list of wanted differences.

The cases and the program that runs them live outside the repository (`golden.py` in the folder of the cases); a case is
a folder `<area>/<case>`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

Outcome = Literal["passed", "failed", "excused", "passed unexpectedly"]

REPOSITORY = Path(__file__).parents[2]
DIFFERENCES = Path(__file__).with_name("differences.toml")
_OUTCOME = re.compile(r"^(ok|DIFFERS|ERROR|NOT RECORDED) ([^\s:]+/[^\s:]+)", re.MULTILINE)


class Result(msgspec.Struct, frozen=True):
    """What became of one case; `told` is what the runner said about it."""

    case: str
    outcome: Outcome
    told: str = ""

    @property
    def area(self) -> str:
        return self.case.partition("/")[0]

    @property
    def is_fine(self) -> bool:
        return self.outcome in ("passed", "excused")


def golden_folder(given: str | None = None) -> Path:
    """Where the cases are: as given, or as the variable GOLDEN says, or beside the repository."""
    return (REPOSITORY / (given or os.environ.get("GOLDEN") or "../shared/golden")).resolve()


def read_differences(path: Path = DIFFERENCES) -> dict[str, str]:
    """The wanted differences: case and reason."""
    table = tomllib.loads(path.read_text())
    return msgspec.convert(table["differences"], dict[str, str])


def with_links(golden: Path, folder: Path) -> Path:
    """The cases with their symbolic links: a copy in `folder` if a checkout has made files of them, else as they are.

    Such a file holds nothing but the path it should lead to.
    """
    lost = [file for file in golden.rglob("input/**/*") if _is_lost_link(file)]
    if not lost:
        return golden
    copy = folder / golden.name
    shutil.copytree(golden, copy, symlinks=True)
    for file in lost:
        place = copy / file.relative_to(golden)
        for parent in (place.parent, place):
            parent.chmod(0o755)
        place.unlink()
        place.symlink_to(file.read_text())
    return copy


def _is_lost_link(file: Path) -> bool:
    if not file.is_file() or file.is_symlink() or file.stat().st_size > 200:
        return False
    text = file.read_bytes()
    return text.startswith(b"../") and b"\n" not in text and (file.parent / text.decode()).exists()


def run_cases(golden: Path, cases: Sequence[Path], jobs: int) -> str:
    """Run cases (or folders of cases) against the shipper of this environment; gives what the runner printed."""
    shipper = Path(sys.executable).with_name("shipper")
    command = [sys.executable, str(golden / "golden.py"), "--cmd", f"{shipper} -c {{conf}}", "-j", str(jobs)]
    done = subprocess.run([*command, *map(str, cases)], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout


def judge(told: str, differences: Mapping[str, str]) -> list[Result]:
    """The result of each case named in the runner's words."""
    found = list(_OUTCOME.finditer(told))
    end_of_last = told.rstrip().rfind("\n") + 1  # the last line is a summary
    ends = [*(f.start() for f in found[1:]), end_of_last]
    return [
        Result(f[2], _outcome(f[1] == "ok", f[2] in differences), told[f.start() : end].rstrip())
        for f, end in zip(found, ends, strict=True)
    ]


def tally(results: Iterable[Result]) -> str:
    """Passed, excused and failed cases of each area, and of all."""
    areas: dict[str, dict[str, int]] = {}
    for result in results:
        for area in (result.area, "all"):
            counts = areas.setdefault(area, {"passed": 0, "excused": 0, "failed": 0})
            counts[result.outcome if result.outcome in counts else "failed"] += 1
    areas["all"] = areas.pop("all", {"passed": 0, "excused": 0, "failed": 0})
    head = f"{'area':<20}{'passed':>8}{'excused':>9}{'failed':>8}"
    rows = [f"{area:<20}{n['passed']:>8}{n['excused']:>9}{n['failed']:>8}" for area, n in areas.items()]
    return "\n".join([head, *rows])


def _outcome(passed: bool, listed: bool) -> Outcome:
    if passed:
        return "passed unexpectedly" if listed else "passed"
    return "excused" if listed else "failed"
