"""A real shipper and three receivers that fail, each in its own way: every line arrives, in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.components.forward_server import Secure, forward_server
from tests.components.http_server import Got, Says, http_server
from tests.components.shipper_process import ShipperProcess
from tests.faults.ledger import assert_balanced

FILES, LINES = 3, 2000


def write_logs(folder: Path) -> dict[str, list[str]]:
    """Container logs; gives the lines of each tag."""
    folder.mkdir()
    written: dict[str, list[str]] = {}
    for number in range(FILES):
        texts = [f"file {number} line {n} é" for n in range(LINES)]
        path = folder / f"c{number}.log"
        path.write_text(
            "".join(f"2026-11-20T10:00:{n // 100:02}.{n % 100:02}0000000Z stdout F {t}\n" for n, t in enumerate(texts))
        )
        written[f"kube.{str(path).lstrip('/').replace('/', '.')}"] = texts
    return written


class BusyStore:
    """A bulk API that turns every tenth document away once, and keeps the others by their ids."""

    def __init__(self) -> None:
        self.documents: dict[str, tuple[str, str]] = {}
        self._turned_away: set[str] = set()

    def judge(self, got: Got) -> Says:
        lines = got.lines
        items = [
            {"create": {"status": self._status(action["create"]["_id"], document)}}
            for action, document in zip(lines[::2], lines[1::2], strict=True)
        ]
        errors = any(item["create"]["status"] >= 300 for item in items)
        return Says(200, msgspec.json.encode({"errors": errors, "items": items}))

    def _status(self, id: str, document: dict[str, str]) -> int:
        if document["log"].endswith("0 é") and id not in self._turned_away:
            self._turned_away.add(id)
            return 429
        self.documents[id] = (document["flb-key"], document["log"])
        return 201


def by_tag(found: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The lines of each tag in their order of arrival, each once."""
    lines: dict[str, dict[str, None]] = {}
    for tag, line in found:
        lines.setdefault(tag, {}).setdefault(line)
    return {tag: list(found) for tag, found in lines.items()}


async def test_each_line_arrives_at_three_receivers_that_fail(tmp_path: Path) -> None:
    written = write_logs(tmp_path / "logs")
    store, refused = BusyStore(), Says(503, b"later")
    async with (
        http_server() as http,
        http_server(store.judge) as es,
        forward_server(Secure("key")) as forward,
    ):
        http.script = [refused, Says(cut=True), Says(), refused, Says(429, b"", {"Retry-After": "1"})]
        es.script = [refused, Says(cut=True)]
        forward.script = ["cut", None, "wrong", "cut"]
        ports = {"HTTP_PORT": http.port, "ES_PORT": es.port, "FORWARD_PORT": forward.port}
        variables = {"LOGS": str(tmp_path / "logs"), "STATE": str(tmp_path), **{k: str(v) for k, v in ports.items()}}
        shipper = ShipperProcess(Path(__file__).with_name("everyday.conf"), tmp_path / "shipper.log", variables)
        not_taken = [http.script.index(refused), 1, 3, 4]

        def taken() -> list[tuple[str, str]]:
            requests = [got for n, got in enumerate(http.got) if n not in not_taken]
            return [(got.headers["x-tag"], record["log"]) for got in requests for record in got.lines]

        def is_done() -> bool:
            forwarded = {(tag, body["log"]) for tag, body in forward.records}
            return min(map(len, (set(taken()), store.documents, forwarded))) == FILES * LINES and not forward.script

        try:
            shipper.start()
            async with asyncio.timeout(40):
                while not is_done():
                    shipper.check()
                    await asyncio.sleep(0.1)
                await asyncio.sleep(0.3)
            ledger = await asyncio.to_thread(shipper.terminate)
        finally:
            shipper.close()

        assert by_tag(taken()) == written
        assert by_tag((tag, body["log"]) for tag, body in forward.records) == written
    assert {tag: sorted(lines) for tag, lines in by_tag(store.documents.values()).items()} == {
        tag: sorted(lines) for tag, lines in written.items()
    }
    assert_balanced(ledger)
