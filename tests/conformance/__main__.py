"""`python -m tests.conformance`: all recorded cases, a tally per area, and every difference nobody wanted."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from tests.conformance.golden import golden_folder, judge, read_differences, run_cases, tally, with_links


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description="Run the recorded cases.")
    parser.add_argument("--golden", help="folder of the cases")
    parser.add_argument("--areas", default="", help="areas to run, separated by blanks or commas; all if empty")
    parser.add_argument(
        "--quiet", action="store_true", help="name the differing cases, but do not show how they differ"
    )
    parser.add_argument("-j", "--jobs", type=int, default=4)
    options = parser.parse_args()
    golden = golden_folder(options.golden)
    if not (golden / "golden.py").exists():
        print(f"There are no recorded cases in {golden}; nothing was compared.")
        return
    with tempfile.TemporaryDirectory() as folder:
        _run(parser, options, with_links(golden, Path(folder)))


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace, golden: Path) -> None:
    areas = [golden / area for area in re.split(r"[\s,]+", options.areas) if area]
    if missing := [area.name for area in areas if not area.is_dir()]:
        parser.error(f"no such area: {', '.join(missing)}")
    differences = read_differences()
    results = judge(run_cases(golden, areas or [golden], options.jobs), differences)
    for result in results:
        if result.outcome == "passed unexpectedly":
            print(f"{result.case} passes, but differences.toml says: {differences[result.case]}")
        elif result.outcome == "failed":
            print(result.case if options.quiet else result.told)
    print(tally(results))
    sys.exit(not results or not all(result.is_fine for result in results))


if __name__ == "__main__":
    main()
