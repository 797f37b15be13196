"""Users' rows D1 to D4: short-lived pods, new files, empty nodes."""

from __future__ import annotations

import importlib.util
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .harness import Node, assert_complete
from .running import Reader, append, numbered


def _run_short_lived_pods(node: Node, pods: int, every_s: float, lifetime_s: float) -> None:
    """Start one pod after another; each writes 100 lines at once and is removed a little later."""
    removals = []
    for number in range(pods):
        pod = node.container(f"job{number}")
        pod.write(100)
        removals.append((time.monotonic() + lifetime_s, pod))
        time.sleep(every_s)
        while removals and removals[0][0] <= time.monotonic():
            removals.pop(0)[1].remove()
    for due, pod in removals:
        time.sleep(max(0.0, due - time.monotonic()))
        pod.remove()


def test_d1_pods_that_live_for_a_moment_are_read_whole(tmp_path: Path) -> None:
    """Scale 1 to 10: 50 pods instead of 500, each removed after 0.4 s instead of 2 s; default intervals."""
    with Node(tmp_path) as node:
        node.start()
        _run_short_lived_pods(node, 50, every_s=0.03, lifetime_s=0.4)
        verdict = node.finish()

    assert verdict.written == 5_000
    assert_complete(verdict)


@pytest.mark.soak
def test_d1_five_hundred_pods_that_live_for_two_seconds_are_read_whole(tmp_path: Path) -> None:
    """As the row says."""
    with Node(tmp_path) as node:
        node.start()
        _run_short_lived_pods(node, 500, every_s=0.02, lifetime_s=2.0)
        verdict = node.finish()

    assert verdict.written == 50_000
    assert_complete(verdict)


def test_d2_a_new_pod_is_read_from_its_first_line_within_two_seconds(tmp_path: Path) -> None:
    """As the row says, beside a pod that is there already; all intervals are the default."""
    with Node(tmp_path) as node:
        old = node.container("old")
        node.start()
        old.write(10)
        time.sleep(0.3)
        new = node.container("new")
        new.write(500)
        took_s = node.until_arrived(patience_s=15)
        verdict = node.finish()

    assert took_s < 2
    assert_complete(verdict)


@pytest.mark.skipif(
    importlib.util.find_spec("shipper.filters.kubernetes") is None, reason="there is no filter for metadata"
)
def test_d3_lines_of_a_pod_that_the_api_does_not_know_arrive(tmp_path: Path) -> None:
    """As the row says: the API answers 404 to everything."""

    class Unknowing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Unknowing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    metadata = (
        "[FILTER]\n    name kubernetes\n    match kube.*\n"
        f"    kube_url http://127.0.0.1:{server.server_address[1]}\n    kube_tag_prefix kube.\n"
    )
    try:
        with Node(tmp_path, filters=metadata) as node:
            node.start(tag="kube.<pod>_<ns>_<c>.log", tag_regex=r"(?<pod>[a-z]+)_(?<ns>[a-z]+)_(?<c>[a-z]+-\d+)\.log$")
            node.container("gone").write(100)
            verdict = node.finish()
    finally:
        server.shutdown()
        server.server_close()

    assert_complete(verdict)


def test_d3_what_the_path_tells_of_a_pod_needs_no_api(tmp_path: Path) -> None:
    """Without any API: the names of a pod that is gone by the time its lines are delivered are those of its path."""
    tag_regex = r"(?<pod>[a-z]+)_(?<ns>[a-z]+)_(?<c>[a-z]+)-\d+\.log$"
    with Reader(tmp_path, f"path {tmp_path}/logs/*.log\ntag <ns>.<pod>.<c>\ntag_regex {tag_regex}") as reader:
        reader.start()
        pod = reader.logs / "gone_ns_web-0.log"
        append(pod, *numbered(1, 100))
        reader.until(lambda: any("gone_ns_web" in name for name in reader.shipper.open_files()))
        pod.unlink()
        reader.until(lambda: len(reader.records("ns.gone.web")) >= 100)
        reader.stop()

    assert reader.texts("ns.gone.web") == numbered(1, 100)
    assert reader.tags() == ["ns.gone.web"]


@pytest.mark.parametrize("is_there", [True, False], ids=["empty folder", "no folder"])
def test_d4_a_node_without_files_at_the_start_is_read_later(tmp_path: Path, is_there: bool) -> None:
    """Scale 1 to 300: the first file comes after 2 s instead of 10 min."""
    with Node(tmp_path) as node:
        if not is_there:
            node.containers.rmdir()
        node.start(until_watching=is_there)
        time.sleep(2)
        node.containers.mkdir(exist_ok=True)
        node.container().write(10)
        took_s = node.until_arrived(patience_s=5)
        verdict = node.finish()

    assert took_s < 2
    assert_complete(verdict)
