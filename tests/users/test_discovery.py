"""Users' rows D1 to D4: short-lived pods and empty nodes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .harness import Node, assert_complete


def test_d1_pods_that_live_for_a_moment_are_read_whole(tmp_path: Path) -> None:
    """Scale 1 to 10: 50 pods instead of 500; each is removed after 0.5 s instead of 2 s, default intervals."""
    with Node(tmp_path) as node:
        node.start()
        node.until(lambda: b"multiline" in node.shipper.log() or len(node.shipper.open_files()) > 3)
        removals = []
        for number in range(50):
            pod = node.container(f"job{number}")
            pod.write(100)
            removals.append((time.monotonic() + 0.5, pod))
            time.sleep(0.03)
            while removals and removals[0][0] <= time.monotonic():
                removals.pop(0)[1].remove()
        for due, pod in removals:
            time.sleep(max(0.0, due - time.monotonic()))
            pod.remove()
        verdict = node.finish()

    assert verdict.written == 5000
    assert_complete(verdict)
