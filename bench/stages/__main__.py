"""Measures the stages: `python -m bench.stages [SUBJECT ...]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.stages import SUBJECTS
from bench.stages.report import new_report, read_results, save, table

_HERE = Path(__file__).parent
# The settings of pytest are those of the repository, warnings being errors among them. CPU time is hardly changed by
# what else runs on the machine, and an input that waits for a moment is not slow.
_PYTEST = (
    *("-m", "pytest", "-q", "-rs", "--no-header", "-p", "no:cacheprovider"),
    *("--benchmark-quiet", "--benchmark-timer=time.process_time"),
    *("-W", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning"),  # that nothing has run is told here
)
_NOTHING_FOUND = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stages", description="Measure single stages.")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}")
    parser.add_argument("-k", dest="expression", default="", help="only stages whose name fits, as pytest has it")
    parser.add_argument("--no-save", action="store_true", help="print the table only")
    options = parser.parse_args()
    if unknown := set(options.subjects) - set(SUBJECTS):
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    report = new_report(read_results(_measured(options.subjects or SUBJECTS, options.expression)))
    print(f"\n{table(report.stages)}")
    if not options.no_save:
        print(f"\nwritten to {save(report)}")


def _measured(subjects: tuple[str, ...], expression: str) -> bytes:
    """What pytest-benchmark writes of these subjects; ends the process if there are none, or one fails."""
    files = [str(_HERE / f"{subject}.py") for subject in subjects]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        command = [sys.executable, *_PYTEST, f"--benchmark-json={path}", "-k", expression, *files]
        status = subprocess.run(command, cwd=_HERE.parents[1], check=False).returncode
        if status not in (0, _NOTHING_FOUND):
            sys.exit("a stage does not do its work: nothing is reported")
        if not path.exists():
            sys.exit("no stage has run")
        return path.read_bytes()


if __name__ == "__main__":
    main()
