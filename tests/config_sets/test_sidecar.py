"""The set for a sidecar (config/sidecar): the files of one application to CloudWatch Logs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from tests.components.moto_server import aws_keys, moto_url
from tests.components.shipper_process import ShipperProcess
from tests.faults.ledger import assert_balanced

from . import cloud
from .mounted import dry_run, mounted, remarks

__all__ = ["aws_keys", "moto_url"]

POD = "shop-7c5d-x2k9p"
TRACE = "java.lang.Error: no stock\n\tat Shop.sell(Shop.java:3)\nCaused by: java.io.IOException: gone\n\t... 2 more"


@pytest.mark.parametrize(
    "variables", [{"POD_NAME": POD}, {"POD_NAME": POD, "LOG_GROUP": "g", "AWS_REGION": "eu-west-1"}]
)
def test_the_set_is_accepted_without_a_warning(tmp_path: Path, variables: dict[str, str]) -> None:
    configuration = mounted("sidecar", tmp_path / "etc") / "shipper.conf"

    status, told = dry_run(configuration, variables)

    assert (status, remarks(told)) == (0, [])


async def test_the_files_of_an_application_arrive_with_traces_in_one_piece(
    tmp_path: Path, moto_url: str, aws_keys: None
) -> None:
    group, logs, state = f"group-{time.monotonic_ns()}", tmp_path / "app", tmp_path / "state"
    logs.mkdir()
    state.mkdir()
    (logs / "shop.log").write_text(f"started\n{TRACE}\nready\n")
    configuration = mounted(
        "sidecar",
        tmp_path / "etc",
        [("auto_create_group         on", f"auto_create_group on\n    endpoint {moto_url}"), ("2020", "0")],
    )
    variables = {"POD_NAME": POD, "APP_LOG_DIR": str(logs), "STATE_DIR": str(state), "LOG_GROUP": group}
    shipper = ShipperProcess(configuration / "shipper.conf", tmp_path / "shipper.log", variables)

    def arrived() -> dict[tuple[str, str], list[str]]:
        return cloud.messages(moto_url, group)

    begin = time.time_ns() // 1_000_000
    shipper.start()
    try:
        found = await asyncio.to_thread(
            cloud.until, arrived, lambda all_: sum(map(len, all_.values())) >= 3, shipper.end_of_log
        )
        assert_balanced(await asyncio.to_thread(shipper.terminate))
        assert remarks(shipper.log().decode()) == []
    finally:
        shipper.close()

    assert list(found) == [(group, POD)]
    (times,) = cloud.events(moto_url, group).values()
    assert all(begin <= at <= time.time_ns() // 1_000_000 for at, _ in times)
    assert [msgspec.json.decode(text) for text in found[group, POD]] == [
        {"file": f"{logs}/shop.log", "log": f"{text}\n", "pod": POD} for text in ("started", TRACE, "ready")
    ]
