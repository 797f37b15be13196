"""The set for Loki (config/loki): the labels and lines that a Promtail with its usual configuration sends."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.components.kubernetes import USUAL_TOKEN, container_status, kubernetes_stand_in, pod
from tests.components.loki import LokiStandIn
from tests.components.shipper_process import ShipperProcess
from tests.faults.ledger import assert_balanced

from .cloud import PATIENCE_S
from .mounted import Pods, dotted, dry_run, mounted, remarks

ID = "a" * 64
LINES = (
    '2026-11-21T10:00:00.5Z stdout F {"level":"info"}\n'
    "2026-11-21T10:00:01.25Z stdout P one \n"
    "2026-11-21T10:00:01.5Z stdout F two\n"
    "2026-11-21T10:00:02Z stderr F oh\n"
)
FIRST_NS = 1_795_255_200_000_000_000


def test_the_set_is_accepted_without_a_warning(tmp_path: Path) -> None:
    configuration = mounted("loki", tmp_path / "etc") / "shipper.conf"

    status, told = dry_run(configuration, {"NODE_NAME": "node-1"})

    assert (status, remarks(told)) == (0, [])


async def test_lines_arrive_as_they_were_written_under_the_labels_of_their_pod(tmp_path: Path) -> None:
    root, loki = tmp_path / "host", LokiStandIn()
    Pods(root).write("web-1", "shop", "app", ID, LINES)
    (tmp_path / "token").write_text(USUAL_TOKEN)
    await loki.start()
    async with kubernetes_stand_in() as api:
        api.add_pod(
            {
                **pod("web-1", "shop", "u-1", labels={"app": "web", "pod-template-hash": "7c5d"}),
                "status": {"containerStatuses": [container_status("app", ID)]},
            }
        )
        configuration = mounted(
            "loki",
            tmp_path / "etc",
            [
                (".var.log.containers.", f"{dotted(root)}.var.log.containers."),
                ("/var/log/", f"{root}/var/log/"),
                ("10250", f"{api.port}\n    kube_ca_file {api.ca_file}\n    kube_token_file {tmp_path}/token"),
                ("2020", "0"),
            ],
        )
        variables = {
            **{"LOKI_HOST": "127.0.0.1", "LOKI_PORT": str(loki.port)},
            **{"NODE_NAME": "node-1", "STATE_DIR": str(tmp_path)},
        }
        shipper = ShipperProcess(configuration / "shipper.conf", tmp_path / "shipper.log", variables)
        shipper.start()
        try:
            deadline = time.monotonic() + PATIENCE_S
            while len(loki.lines) < 3:
                assert time.monotonic() < deadline, shipper.end_of_log()
                await asyncio.sleep(0.05)  # another process: there is nothing to wait on
            assert_balanced(await asyncio.to_thread(shipper.terminate))
            assert remarks(shipper.log().decode(), "serviceaccount/namespace") == []
        finally:
            shipper.close()
            await loki.stop()

    usual = {"job": "shipper", "namespace": "shop", "pod": "web-1", "container": "app", "app": "web"}
    stored = [(dict(one.labels), one.entry.time_ns - FIRST_NS, one.entry.line) for one in loki.store.entries]
    out, err = ({**usual, "node_name": "node-1", "stream": stream} for stream in ("stdout", "stderr"))
    assert sorted(stored, key=lambda one: one[1]) == [
        (out, 500_000_000, '{"level":"info"}'),
        (out, 1_250_000_000, "one two"),
        (err, 2_000_000_000, "oh"),
    ]
