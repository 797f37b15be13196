"""The world of a fault test: a generator, a real shipper and sinks, each a process, in a folder of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from tests.components.generator import Manifest, message, read_manifest
from tests.components.shipper_process import PATIENCE_S, ShipperProcess
from tests.components.sink import Window
from tests.faults.audit import TextOf, Verdict, audit, whole
from tests.faults.destination import Destination, end, start_python
from tests.faults.ledger import Entry, assert_balanced

Storage = Literal["memory", "memory with a folder", "filesystem"]
"""Where records wait: in memory, there with a folder for what an output does not take, or in files."""

SINK = "sink"
"""The destination of a world that has one."""

_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_EC2_METADATA_DISABLED": "true"}


class Deployment(NamedTuple):
    """A configuration other than the one beside this file: it reads container logs below `logs` for one destination.

    `write` writes it for a sink at the given port; `text_of` finds the text in what it sends.
    """

    logs: Path
    write: Callable[[int], Path]
    variables: Mapping[str, str]
    text_of: TextOf


class World:
    """Starts, kills and ends the processes; a context manager that leaves none behind.

    The order of a test: `start`, any number of `kill` or `terminate` with `start_shipper` after them, `finish`,
    `verdict`. Each destination has an output of its name; those that are `dead` do not answer before `revive`, the
    first one must live. The `windows` are the first one's. `room` is the Mem_Buf_Limit. With a `deployment`,
    `storage` only says where that lets records wait.
    """

    def __init__(
        self,
        folder: Path,
        windows: Sequence[Window] = (),
        storage: Storage = "memory",
        *,
        destinations: Sequence[str] = (SINK,),
        dead: Sequence[str] = (),
        room: str = "20M",
        deployment: Deployment | None = None,
    ) -> None:
        self.folder = folder
        self.kills: list[float] = []
        self._is_stored = storage == "filesystem"
        self._logs = folder / "logs"
        self._state = folder / "state"
        self._destinations = {name: Destination(folder / name) for name in destinations}
        self._first = self._destinations[destinations[0]] = Destination(folder / destinations[0], windows)
        self._living = {name: one for name, one in self._destinations.items() if name not in dead}
        self._told_at_start = 0
        self._text_of: TextOf = whole
        if deployment is None:
            configuration = folder / "shipper.conf"
            configuration.write_text(_configuration(storage, room, self._destinations))
            variables: Mapping[str, str] = {"LOGS": str(self._logs), "STATE": str(self._state)}
        else:
            configuration, variables = deployment.write(self._first.port), deployment.variables
            self._logs, self._text_of = deployment.logs, deployment.text_of
        self._shipper = ShipperProcess(configuration, folder / "shipper.log", {**_CREDENTIALS, **variables})
        # Runs between `start_generator` and `finish`.
        self._generator: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for path in (self._logs / "containers", self._state):
            path.mkdir(parents=True, exist_ok=True)
        for destination in self._living.values():
            destination.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shipper.close()
        end(self._generator)
        for destination in self._destinations.values():
            destination.close()

    def start(self, *options: str) -> None:
        """Start the shipper, and the generator once it looks for files: what is written from now on must arrive."""
        self.start_shipper()
        limit = time.monotonic() + PATIENCE_S
        while not self._shipper.is_watching() and time.monotonic() < limit:
            time.sleep(0.02)
        self.start_generator(*options)

    def start_generator(self, *options: str) -> None:
        manifest = ("--manifest", str(self.folder / "manifest.json"))
        self._generator = start_python("tests.components.generator", str(self._logs), *manifest, *options)

    def start_shipper(self) -> None:
        self._told_at_start = self._first.told()
        self._shipper.start()

    def wait_for_a_put(self) -> None:
        """Until the first sink has seen a put of the shipper that runs now."""
        limit = time.monotonic() + PATIENCE_S
        while self._first.told() <= self._told_at_start:
            self._shipper.check()
            if time.monotonic() > limit:
                raise AssertionError(f"the shipper has sent nothing for {PATIENCE_S:g} s\n{self._shipper.end_of_log()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """`kill -9` of the shipper; the moment is remembered for the audit."""
        self._shipper.check()
        self.kills.append(time.time())
        self._shipper.kill()

    def terminate(self) -> dict[str, Entry]:
        """SIGTERM to the shipper, which has to end by itself with code 0; gives its ledger, which has to balance."""
        ledger = self._shipper.terminate()
        assert_balanced(ledger)
        return ledger

    def finish(self) -> dict[str, Entry]:
        """End the generator, wait until nothing new arrives or everything has, end the shipper."""
        manifest = self._end_generator()
        for destination in self._living.values():
            self._wait_until_delivered(destination, manifest)
        return self.terminate()

    def revive(self, name: str) -> dict[str, Entry]:
        """Bring a dead destination back and let the shipper deliver what it owes it; gives the ledger of that run."""
        self._destinations[name].start()
        self.start_shipper()
        self._wait_until_delivered(self._destinations[name], read_manifest(self.folder / "manifest.json"))
        return self.terminate()

    @property
    def peak_mib(self) -> float:
        """Most resident memory of the shipper that was ended last."""
        return self._shipper.peak_mib

    @property
    def written_bytes(self) -> int:
        """What the generator has written in this run; known after `finish`."""
        return read_manifest(self.folder / "manifest.json").written_bytes

    def verdict(self, name: str = "") -> Verdict:
        """The judgement on one destination, by default on the first."""
        destination = self._destinations[name] if name else self._first
        manifest = read_manifest(self.folder / "manifest.json")
        return audit(manifest, destination.folder, self.kills, self._is_stored, self._text_of)

    def _end_generator(self) -> Manifest:
        if self._generator is None:
            raise AssertionError("no generator was started")
        self._generator.terminate()
        self._generator.wait(timeout=PATIENCE_S)
        return read_manifest(self.folder / "manifest.json")

    def _wait_until_delivered(self, destination: Destination, manifest: Manifest) -> None:
        """Until every message has arrived, or nothing has arrived for a while; the audit tells which."""
        at_risk = {message(stream, n) for stream, numbers in manifest.at_risk.items() for n in numbers}
        destination.wait_for(manifest.messages - manifest.messages_at_risk, at_risk, self._shipper, self._text_of)


def _configuration(storage: Storage, room: str, destinations: dict[str, Destination]) -> str:
    """The file with one output for each destination, and records waiting where they should."""
    text = Path(__file__).with_name("shipper.conf").read_text().replace("20M", room)
    rest, mark, output = text.partition("[OUTPUT]\n")
    for name, destination in destinations.items():
        rest += f"{mark}    alias             {name}\n" + output.replace("${SINK_PORT}", str(destination.port)) + "\n"
    if storage != "memory":
        rest = rest.replace("[SERVICE]\n", "[SERVICE]\n    storage.path     ${STATE}/storage\n")
    if storage == "filesystem":
        rest = rest.replace(
            "    name             tail\n", f"    name             tail\n    storage.type     {storage}\n"
        )
    return rest
