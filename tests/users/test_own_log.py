"""Users' rows U3 and U4: nothing ends without being counted, and our own log does not feed itself.

U4: our own log is a source only if somebody asks for it by the input `fluentbit_logs`, or lets `tail` follow the file,
which the published configurations exclude.
"""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import shipper

from .cloudwatch import CREDENTIALS, Answer, CloudWatch
from .storing import Station

PACKAGE = Path(shipper.__file__).parent

# -- U3: one place where records may be dropped ------------------------------------------------------------------------

SETTLED_IN = {
    "intake.py": "what filters took out, what failed in one, and what has no route; each is counted there",
    "buffers/memory.py": "what all outputs have committed, and what a ring lets go, which its owner counts",
    "buffers/spilling.py": "what has moved to the disk",
    "buffers/filesystem/buffer.py": "what is stored",
    "buffers/filesystem/writer.py": "what is stored",
    "filters/multiline/owed.py": "the receipts that a joined record stands for",
    "outputs/s3/debts.py": "what is in the bucket",
    "inputs/http/input.py": "batches of a request that found no room: its client sends them again",
    "inputs/kubernetes_events/collecting.py": "its own progress, for versions without events",
}
"""Where receipts are settled: a record can only end unseen where its receipt does."""


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """All calls of a method of this name in the package, with the files they stand in."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
                yield str(path.relative_to(PACKAGE)), node


def test_u3_drops_are_counted_in_one_place() -> None:
    counted = [
        file
        for file, call in calls("counter")
        if any(isinstance(a, ast.Constant) and "dropped_records" in str(a.value) for a in call.args)
    ]

    assert counted == ["context.py"]


def test_u3_every_drop_has_a_reason() -> None:
    without = [
        f"{file}:{call.lineno}"
        for file, call in calls("dropped")
        if len(call.args) < 3 and file != "outputs/s3/output.py"  # its debts know their size
    ]

    assert without == []


def test_u3_receipts_are_settled_in_known_places_only() -> None:
    assert {file for file, _ in calls("settle")} == set(SETTLED_IN)


# -- U4: our own lines -------------------------------------------------------------------------------------------------

OUTAGE_S = 10.0


def told_in_an_outage(folder: Path, service: str, sections: str = "") -> str:
    """What it says while CloudWatch Logs answers everything with 503."""
    with CloudWatch(lambda operation, body: Answer(503, "ServiceUnavailableException", "later")) as cloud:
        texts = sections + cloud.output()
        with Station(folder, (), service=service, sections=texts, tail="mem_buf_limit 1M", variables=CREDENTIALS) as it:
            log = it.log()
            it.start()
            before = len(it.shipper.log())
            end = time.monotonic() + OUTAGE_S
            while time.monotonic() < end:
                log.write(200)
                time.sleep(0.05)
            told = it.shipper.log()[before:].decode()
            it.shipper.kill()
    return told


@pytest.mark.parametrize("own", ["", "[INPUT]\n    name fluentbit_logs\n    tag own\n"], ids=["", "with our own log"])
def test_u4_an_outage_is_told_in_two_lines_for_each_attempt_and_a_few_more(tmp_path: Path, own: str) -> None:
    """Ten seconds with an attempt every two; with the default back-off an hour has about a dozen of them."""
    told = told_in_an_outage(tmp_path, "scheduler.base 1; scheduler.cap 2", own)

    attempts = len(re.findall(r"failed to flush chunk", told))
    print(f"{attempts} attempts, {len(told.splitlines())} lines\n{told}")
    assert 1 <= attempts <= OUTAGE_S
    assert len(told.splitlines()) <= 2 * attempts + 8, told
