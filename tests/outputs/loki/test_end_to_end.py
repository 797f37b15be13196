"""A real shipper and a stand-in for Loki that refuses, fails and cuts: each line arrives once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

import pytest

from tests.components.loki import Answer, Limits, LokiStandIn
from tests.components.shipper_process import ShipperProcess
from tests.faults.ledger import assert_balanced

FILES, LINES = 3, 4000
TROUBLE: list[Answer | str | None] = [
    Answer(500, "rpc error"),
    "cut_before",
    Answer(429, "ingestion rate limit exceeded for user x (limit: 4000000 bytes/sec)", {"Retry-After": "1"}),
    None,
    "cut_after",
    Answer(503, "later"),
    "cut_before",
    "cut_before",
]


def write_logs(folder: Path) -> dict[str, list[str]]:
    """Container logs; gives the lines of each file."""
    folder.mkdir()
    written: dict[str, list[str]] = {}
    for number in range(FILES):
        texts = [f"file {number} line {n} é" for n in range(LINES)]
        lines = [
            f"2026-11-20T10:00:{n // 100:02}.{n % 100:02}0000000Z {'stderr' if n % 5 else 'stdout'} F {text}\n"
            for n, text in enumerate(texts)
        ]
        (folder / f"c{number}.log").write_text("".join(lines))
        written[f"c{number}.log"] = texts
    return written


@pytest.mark.parametrize("form", ["json", "protobuf"])
async def test_each_line_arrives_once(form: str, tmp_path: Path) -> None:
    written = write_logs(tmp_path / "logs")
    loki = LokiStandIn(Limits())
    loki.script.extend(TROUBLE)  # type: ignore[arg-type]  # the words are modes
    await loki.start()
    variables = {"LOGS": str(tmp_path / "logs"), "STATE": str(tmp_path), "SINK_PORT": str(loki.port), "FORMAT": form}
    shipper = ShipperProcess(Path(__file__).with_name("shipper.conf"), tmp_path / "shipper.log", variables)
    try:
        shipper.start()
        async with asyncio.timeout(30):
            while len({s.entry.line for s in loki.store.entries}) < FILES * LINES or loki.script:
                shipper.check()
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
        ledger = await asyncio.to_thread(shipper.terminate)
    finally:
        shipper.close()
        await loki.stop()

    in_doubt = [p for p in loki.pushed if p.status == 0]
    arrived: dict[str, dict[str, None]] = defaultdict(dict)
    for stored in loki.store.entries:
        arrived[dict(stored.labels)["tag"].rpartition("/")[2].removeprefix("kube.")].setdefault(stored.entry.line)
    by_file = {name.rpartition("logs.")[2]: sorted(lines) for name, lines in arrived.items()}
    assert_balanced(ledger)
    assert by_file == {name: sorted(lines) for name, lines in written.items()}
    assert loki.store.duplicates <= max(sum(len(e) for _, e in p.streams) for p in in_doubt)
    for labels in {s.labels for s in loki.store.entries}:
        times = [s.entry.time_ns for s in dict.fromkeys(loki.store.entries) if s.labels == labels]
        assert times == sorted(times)


BACKLOG_CONF = """
[SERVICE]
    flush 0.1
    grace 5
[INPUT]
    name tail
    path {folder}/logs/*.log
    multiline.parser cri
    read_from_head on
[OUTPUT]
    name loki
    match *
    host 127.0.0.1
    port {port}
    drop_single_key raw
    remove_keys time, _p, stream
"""


async def test_a_backlog_of_files_that_share_a_stream_is_delivered_whole(tmp_path: Path) -> None:
    """K1: both cover the same five hours; the quiet one is read to its end long before the busy one."""
    (tmp_path / "logs").mkdir()
    written = {}
    for name, count in (("busy", 60_000), ("quiet", 3000)):
        times = [5 * 3600 * n / count for n in range(count)]
        lines = [
            f"2026-11-20T{10 + int(t) // 3600:02}:{int(t) // 60 % 60:02}:{t % 60:012.9f}Z stdout F {name} {n}"
            for n, t in enumerate(times)
        ]
        (tmp_path / "logs" / f"{name}.log").write_text("\n".join(lines) + "\n")
        written[name] = [f"{name} {n}" for n in range(count)]
    loki = LokiStandIn(Limits())
    await loki.start()
    conf = tmp_path / "shipper.conf"
    conf.write_text(BACKLOG_CONF.format(folder=tmp_path, port=loki.port))
    shipper = ShipperProcess(conf, tmp_path / "shipper.log", {})
    try:
        shipper.start()
        async with asyncio.timeout(60):
            while len(loki.store.entries) < 63_000:
                shipper.check()
                await asyncio.sleep(0.1)
        ledger = await asyncio.to_thread(shipper.terminate)
    finally:
        shipper.close()
        await loki.stop()

    labels = {labels for labels in {s.labels for s in loki.store.entries}}
    assert_balanced(ledger)
    assert ledger["loki.0"]["delivered"] == 63_000
    by_time = [s.entry.line for s in sorted(loki.store.entries, key=lambda stored: stored.entry.time_ns)]
    for name, lines in written.items():
        assert [line for line in by_time if line.startswith(name)] == lines
    assert {tuple(sorted(dict(found))) for found in labels} == {("job",), ("job", "late")}
