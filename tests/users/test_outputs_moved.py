"""What is stored for an output without an alias stays its own, whatever its number becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness import Log, assert_complete, judge
from .storing import Station
from .test_reload import reload

SERVICE = "hot_reload on"


class Moving:
    """A station whose outputs are files below folders of these names; one is away as long as its folder is missing."""

    def __init__(self, folder: Path, *names: str, storage: str) -> None:
        self.station = Station(folder, (), service=SERVICE, tail=f"storage.type {storage}")
        self.folder = folder
        self._fixed = (folder / "shipper.conf").read_text()
        self.configure(*names)

    def configure(self, *names: str, lines: str = "") -> None:
        """Let these be the outputs, in this order."""
        outputs = (
            f"[OUTPUT]\n    name file\n    match *\n    path {self.folder}/{name}\n    file all\n"
            f"    format template\n    template {{log}}\n{lines}"
            for name in names
        )
        self.station.configure(self._fixed + "".join(outputs))

    def owe(self, log: Log) -> None:
        """Write a hundred lines, and wait until they are stored for an output that is away."""
        log.write(100)
        self.station.until_told("failed to flush chunk")
        self.station.until_read()

    def take_up(self, way: str) -> None:
        """Let the shipper take up the configuration."""
        if way == "reload":
            reload(self.station)
        else:
            self.station.stop()
            self.station.start()

    def lines(self, name: str) -> list[str]:
        path = self.folder / name / "all"
        return path.read_text().splitlines() if path.exists() else []

    def until(self, name: str, count: int) -> None:
        self.station.until(lambda: len(self.lines(name)) >= count)

    def appears(self, name: str) -> None:
        (self.folder / name).mkdir()


WAYS = pytest.mark.parametrize("way", ["reload", "restart"])
STORAGES = pytest.mark.parametrize("storage", ["memory", "filesystem"])


@WAYS
@STORAGES
def test_what_an_output_is_owed_that_is_taken_away_goes_to_no_other(tmp_path: Path, way: str, storage: str) -> None:
    moving = Moving(tmp_path, "x", "y", storage=storage)
    moving.appears("y")
    with moving.station as station:
        log = station.log()
        station.start()
        log.write(100)
        moving.until("y", 100)
        station.until_told("failed to flush chunk")
        moving.configure("y")
        moving.take_up(way)
        told = station.until_told("records are stored for an output that is not configured.*output=file.0, records=100")
        log.write(10)
        moving.until("y", 110)
        moving.configure("x", "y")
        moving.appears("x")
        moving.take_up(way)
        log.write(10)
        moving.until("x", 110)
        moving.until("y", 120)
        station.stop()

        assert "alias" in told.string[told.start() :].partition("\n")[0]
        assert_complete(judge(moving.lines("y"), station.logs))
        assert moving.lines("x") == moving.lines("y")[:100] + moving.lines("y")[110:]


@WAYS
@STORAGES
def test_what_an_output_is_owed_goes_along_when_another_is_put_before_it(
    tmp_path: Path, way: str, storage: str
) -> None:
    moving = Moving(tmp_path, "x", "y", storage=storage)
    moving.appears("y")
    moving.appears("new")
    with moving.station as station:
        log = station.log()
        station.start()
        log.write(100)
        moving.until("y", 100)
        station.until_told("failed to flush chunk")
        moving.configure("new", "y", "x", lines="    log_level info\n")
        moving.take_up(way)
        moving.appears("x")
        moving.until("x", 100)
        log.write(10)
        for name in ("x", "y"):
            moving.until(name, 110)
        moving.until("new", 10)
        station.stop()

        for name in ("x", "y"):
            assert_complete(judge(moving.lines(name), station.logs))
        assert moving.lines("new") == moving.lines("y")[100:]


@WAYS
def test_what_an_output_is_owed_goes_to_its_new_place(tmp_path: Path, way: str) -> None:
    """As after a mistake in its address; which is told."""
    moving = Moving(tmp_path, "x", storage="filesystem")
    moving.appears("y")
    with moving.station as station:
        log = station.log()
        station.start()
        moving.owe(log)
        moving.configure("y")
        moving.take_up(way)
        log.write(10)
        moving.until("y", 110)
        station.until_told(r"output sends elsewhere than before, and what is stored for it goes there, output=file\.0")
        station.stop()

        assert_complete(judge(moving.lines("y"), station.logs))


@WAYS
def test_what_is_stored_is_not_sent_to_one_that_may_be_another(tmp_path: Path, way: str) -> None:
    """One output is taken away and the other one changed: nobody can tell which one is left."""
    moving = Moving(tmp_path, "x", "w", storage="filesystem")
    moving.appears("w")
    moving.appears("y")
    with moving.station as station:
        log = station.log()
        station.start()
        log.write(100)
        moving.until("w", 100)
        station.until_told("failed to flush chunk")
        station.until_read()
        moving.configure("y")
        moving.take_up(way)
        log.write(10)
        moving.until("y", 10)
        before = moving.lines("y")
        # An alias says whose they are to be.
        moving.configure("y", lines="    alias file.0\n")
        moving.take_up(way)
        moving.until("y", 110)
        station.stop()

        assert len(before) == 10
        assert_complete(judge([*moving.lines("y")[10:], *before], station.logs))


def test_a_storage_without_known_destinations_is_read_by_the_names_of_outputs(tmp_path: Path) -> None:
    moving = Moving(tmp_path, "x", storage="filesystem")
    with moving.station as station:
        log = station.log()
        station.start()
        moving.owe(log)
        station.stop()
        (station.storage / "shipper" / ".outputs" / "names").unlink()
        moving.configure("y")
        moving.appears("y")
        station.start()
        moving.until("y", 100)
        station.stop()

        assert_complete(judge(moving.lines("y"), station.logs))
