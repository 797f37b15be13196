"""Users' rows Y1 to Y4: a hot reload loses and doubles nothing, never hangs, and a bad one changes nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from tests.components.generator import message

from .cloudwatch import CREDENTIALS, CloudWatch
from .harness import Log, assert_complete, judge
from .storing import Station, resident_kb
from .test_monitoring import Api
from .test_push_inputs import unused_port

RELOAD = "hot_reload on"
DONE = "successful reload done"
INPUT_IN_MEMORY = "[INPUT]\n    name dummy\n    tag t.dummy\n    rate 20\n"


def reloads(station: Station) -> int:
    return station.shipper.log().decode(errors="replace").count(DONE)


def reload(station: Station, patience_s: float = 20.0) -> float:
    """Ask for a reload by SIGHUP and wait until it is done; gives the seconds it took."""
    before = reloads(station)
    os.kill(station.shipper.check().pid, signal.SIGHUP)
    return station.until(lambda: reloads(station) > before, patience_s)


def text_of(station: Station) -> str:
    return (station.folder / "shipper.conf").read_text()


@contextmanager
def written_steadily(log: Log, rotate_every_s: float = 0.4) -> Iterator[None]:
    """Write 2000 lines a second and rotate while the block runs."""
    is_over = threading.Event()

    def write() -> None:
        rotated = time.monotonic()
        while not is_over.wait(0.01):
            log.write(20)
            if time.monotonic() - rotated > rotate_every_s:
                log.rotate()
                rotated = time.monotonic()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        is_over.set()
        writer.join()


def reload_under_load(station: Station, times: int, log: Log) -> None:
    """Reload so often while lines are written."""
    with written_steadily(log):
        for _ in range(times):
            time.sleep(0.3)
            reload(station)
        time.sleep(0.3)


@contextmanager
def watched_for_pauses(path: Path) -> Iterator[list[float]]:
    """While the block runs somebody looks at the file; gives the seconds of each time in which it did not grow."""
    is_over, pauses = threading.Event(), list[float]()

    def watch() -> None:
        size, moved_at = path.stat().st_size, time.monotonic()
        while not is_over.wait(0.01):
            if size != (size := path.stat().st_size):
                pauses.append(time.monotonic() - moved_at)
                moved_at = time.monotonic()
        pauses.append(time.monotonic() - moved_at)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield pauses
    finally:
        is_over.set()
        watcher.join()


def reload_from_file_to_file(folder: Path, storage: str, times: int) -> None:
    with Station(folder, service=RELOAD, tail=f"storage.type {storage}") as station:
        log = station.log()
        station.start()
        reload_under_load(station, times, log)
        station.until_arrived(patience_s=60)
        station.stop()

        assert_complete(station.verdict())
        assert reloads(station) == times


# -- nothing lost, nothing doubled -------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_y2_reloads_under_writing_and_rotation_lose_and_double_nothing(tmp_path: Path, storage: str) -> None:
    reload_from_file_to_file(tmp_path, storage, 3)


@pytest.mark.soak
@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_y2_twenty_reloads_under_writing_and_rotation_lose_and_double_nothing(tmp_path: Path, storage: str) -> None:
    reload_from_file_to_file(tmp_path, storage, 20)


@pytest.mark.parametrize("from_head", ["on", "off"])
@pytest.mark.parametrize("path", ["", None])
def test_y2_without_a_database_reloads_lose_and_double_nothing_either(
    tmp_path: Path, path: str | None, from_head: str
) -> None:
    with Station(tmp_path, service=RELOAD, tail="", path=path) as station:
        text = re.sub(r" *db \S+\n", "", text_of(station))
        station.configure(text.replace("read_from_head on", f"read_from_head {from_head}"))
        log = station.log()
        station.start()
        reload_under_load(station, 3, log)
        station.until_arrived(patience_s=60)
        station.stop()

        assert_complete(station.verdict())
        assert reloads(station) == 3


def test_y2_reloads_lose_and_double_nothing_on_the_way_to_cloudwatch(tmp_path: Path) -> None:
    with (
        CloudWatch() as cloud,
        Station(tmp_path, outputs=(), service=RELOAD, sections=cloud.output(), variables=CREDENTIALS) as station,
    ):
        log = station.log()
        station.start()
        reload_under_load(station, 3, log)
        station.until(lambda: len(cloud.all_messages()) >= log.written)
        station.stop()

        assert_complete(judge(cloud.all_messages(), station.logs))


def reload_with_one_away(folder: Path, storage: str, times: int) -> float:
    """Of two outputs one is away while lines are written; gives the longest time in which the other one got nothing."""
    with Station(folder, ("a", "b"), service=RELOAD, tail=f"storage.type {storage}") as station:
        log = station.log()
        station.start()
        log.write(100)
        station.until_arrived("a")
        station.until_arrived("b")
        station.close("a")
        log.write(100)
        station.until_told("failed to flush chunk")
        with watched_for_pauses(folder / "b" / "all") as pauses:
            reload_under_load(station, times, log)
        station.until_arrived("b")
        station.open("a")
        station.until_arrived("a", patience_s=120)
        station.stop()

        assert_complete(station.verdict("a"))
        assert_complete(station.verdict("b"))
    return max(pauses)


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_y1_an_output_that_is_away_ends_no_reload_and_gets_everything_later(tmp_path: Path, storage: str) -> None:
    """In small: 4 reloads instead of 500."""
    reload_with_one_away(tmp_path, storage, 4)


@pytest.mark.soak
@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_y1_over_fifty_reloads_with_one_output_away_the_other_one_never_stands_still(
    tmp_path: Path, storage: str
) -> None:
    assert reload_with_one_away(tmp_path, storage, 50) < 1


@contextmanager
def silent_listener() -> Iterator[socket.socket]:
    """Lets everybody connect and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener


class SlowReceiver:
    """An HTTP server that takes lines, and a second to say so."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._is_busy = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.lines += [json.loads(line)["log"] for line in body.splitlines()]
                receiver._is_busy.set()
                time.sleep(1)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def port(self) -> int:
        return self._server.server_port

    def until_busy(self) -> None:
        """Wait for a delivery that begins from now on."""
        self._is_busy.clear()
        assert self._is_busy.wait(30)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def http_output(port: int, lines: str = "") -> str:
    fixed = f"    name http\n    match t.*\n    host 127.0.0.1\n    port {port}\n    format json_lines\n"
    return f"[OUTPUT]\n{fixed}" + "".join(f"    {line.strip()}\n" for line in lines.split(";") if line.strip())


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_y1_others_go_on_while_a_reload_waits_for_an_answer(tmp_path: Path, storage: str) -> None:
    with silent_listener() as listener:
        sections = http_output(listener.getsockname()[1])
        service = f"{RELOAD}; grace 60"
        with Station(tmp_path, service=service, tail=f"storage.type {storage}", sections=sections) as station:
            log = station.log()
            station.start()
            log.write(10)
            station.until_arrived()
            os.kill(station.shipper.check().pid, signal.SIGHUP)
            station.until_told("waiting for answers while everything else goes on, outputs=http.0")
            log.write(10)
            station.until_arrived()
            told_before = station.told("pausing all inputs|no answer")
            # Its connections are reset by that, which is an answer, too.
            listener.close()
            station.until_told(DONE)
            log.write(10)
            station.until_arrived()

            assert told_before is None
            assert_complete(station.verdict())


def reload_with_one_silent(folder: Path, times: int, storage: str) -> float:
    """Of two outputs one never answers; gives the longest time for which the other one stood still."""
    path, tail = (None, "") if storage == "none" else ("", f"storage.type {storage}")
    with silent_listener() as listener:
        sections = http_output(listener.getsockname()[1])
        service = f"{RELOAD}; grace 2"
        with Station(folder, service=service, tail=tail, path=path, sections=sections) as station:
            log = station.log()
            station.start()
            log.write(10)
            station.until_arrived()
            with watched_for_pauses(folder / "a" / "all") as pauses, written_steadily(log):
                for _ in range(times):
                    reload(station)
            station.until_arrived()
            ledger = station.stop()

            assert station.told("no answer; what is on its way is kept and sent again, outputs=http.0")
            assert set(station.arrived()) == {message(log.stream, number) for number in range(log.written)}
            if path is not None:
                assert_complete(station.verdict())
                assert ledger["http.0"]["held"] == log.written
    return max(pauses)


@pytest.mark.parametrize("storage", ["none", "memory", "filesystem"])
def test_y1_an_output_that_never_answers_ends_no_reload(tmp_path: Path, storage: str) -> None:
    reload_with_one_silent(tmp_path, 2, storage)


@pytest.mark.soak
@pytest.mark.parametrize(("storage", "times"), [("none", 3), ("memory", 20), ("filesystem", 20)])
def test_y1_beside_an_output_that_never_answers_nobody_stands_still(tmp_path: Path, storage: str, times: int) -> None:
    """Without storage the input waits as soon as memory is full of what is owed, so there are fewer reloads."""
    assert reload_with_one_silent(tmp_path, times, storage) < 1


def test_y1_who_is_slow_to_answer_gets_nothing_twice(tmp_path: Path) -> None:
    """Its answers take longer than the time after which an output is taken to be away."""
    with SlowReceiver() as receiver, Station(tmp_path, service=RELOAD, sections=http_output(receiver.port)) as station:
        log = station.log()
        station.start()
        with written_steadily(log):
            for _ in range(3):
                receiver.until_busy()
                reload(station)
        station.until(lambda: len(receiver.lines) >= log.written, 60)
        station.stop()

        assert_complete(judge(receiver.lines, station.logs))


def test_y1_what_comes_twice_without_storage_is_told(tmp_path: Path) -> None:
    with Station(tmp_path, ("a", "b"), service=f"{RELOAD}; grace 1", tail="", path=None) as station:
        log = station.log()
        station.start()
        station.close("a")
        log.write(100)
        station.until_arrived("b")
        station.until_told("failed to flush chunk")
        reload(station)
        station.until(lambda: len(station.arrived("b")) == 200)
        station.open("a")
        station.until_arrived("a")
        station.stop()

        assert station.told(
            "outputs that have it already get it twice, outputs=a, remedy=with storage.path nothing comes"
        )
        assert_complete(station.verdict("a"))


def test_y1_what_a_file_still_has_is_not_waited_for_longer_than_grace(tmp_path: Path) -> None:
    with Station(tmp_path, service=f"{RELOAD}; grace 1", tail="storage.type memory", path=None) as station:
        log = station.log()
        station.start()
        station.close()
        log.write(100)
        station.until_told("failed to flush chunk")
        took = reload(station)
        station.open()
        station.until_arrived()
        station.stop()

        assert_complete(station.verdict())
        assert took < 4


def test_y1_who_pushes_is_heard_while_a_reload_waits(tmp_path: Path) -> None:
    """One of two outputs is away, and what it is owed is in memory alone."""
    udp, tcp = unused_port(), unused_port()
    sections = "".join(
        f"[INPUT]\n    name {name}\n    tag t.{name}\n    listen 127.0.0.1\n    port {port}\n    format none\n"
        for name, port in (("udp", udp), ("tcp", tcp))
    )
    service = f"{RELOAD}; grace 1"
    with Station(tmp_path, ("a", "b"), service=service, sections=sections, path=None, tail="") as station:

        def push(text: str) -> None:
            """Send the text by both ways."""
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(f"udp {text}\n".encode(), ("127.0.0.1", udp))
            with socket.create_connection(("127.0.0.1", tcp), timeout=10) as sender:
                sender.sendall(f"tcp {text}\n".encode())
            station.until(lambda: {f"udp {text}", f"tcp {text}"} <= set(station.arrived("a")))

        station.start()
        push("before")
        station.until_arrived("b", 2)
        station.close("b")
        push("held")
        station.until_told("failed to flush chunk")
        os.kill(station.shipper.check().pid, signal.SIGHUP)
        station.until_told("the reload is put off until what is in memory alone is delivered.*outputs=b")
        push("beside")
        was_stopped = station.told("pausing all inputs")
        station.open("b")
        station.until_told(DONE)
        push("after")
        station.until_arrived("b", 8)
        station.stop()

        assert was_stopped is None
        assert len(station.arrived("a")) == len(station.arrived("b")) == 8


# -- what would be lost is waited for, but not against anybody's will --------------------------------------------------


@contextmanager
def reload_that_waits(folder: Path, service: str) -> Iterator[Station]:
    """A station that retires for a reload, and holds records that are nowhere else for an output that is away."""
    sections = INPUT_IN_MEMORY
    with Station(folder, service=f"{RELOAD}; {service}", sections=sections, path=None, tail="") as station:
        station.start()
        station.until(lambda: station.arrived() != [])
        station.close()
        station.until_told("failed to flush chunk")
        os.kill(station.shipper.check().pid, signal.SIGHUP)
        station.until_told("the reload is put off until what is in memory alone is delivered", 10)
        yield station


def test_y1_what_would_be_lost_is_waited_for_and_told(tmp_path: Path) -> None:
    with reload_that_waits(tmp_path, "grace 1") as station:
        time.sleep(2)
        waited = reloads(station)
        station.open()
        station.until_told(DONE)

        assert waited == 0
        assert re.search(r"service has stopped \(0 pending records", station.shipper.log().decode())


def test_y1_sigterm_ends_a_reload_that_waits(tmp_path: Path) -> None:
    with reload_that_waits(tmp_path, "grace 1") as station:
        began = time.monotonic()
        station.shipper.terminate()

        assert time.monotonic() - began < 3
        assert reloads(station) == 0


def test_y1_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    with reload_that_waits(tmp_path, "grace 60") as station:
        station.shipper.check().terminate()
        station.until_told("service will shutdown in max 60 seconds")
        began = time.monotonic()
        station.shipper.terminate()

        assert time.monotonic() - began < 3


def test_y1_the_timeout_of_a_reload_is_obeyed(tmp_path: Path) -> None:
    with reload_that_waits(tmp_path, "grace 60; hot_reload.timeout 3") as station:
        station.until_told(DONE, 6)

        assert station.told("service will shutdown in max 3 seconds")


def test_y1_a_timeout_that_is_set_while_a_reload_waits_ends_it(tmp_path: Path) -> None:
    with reload_that_waits(tmp_path, "grace 1") as station:
        station.configure(text_of(station).replace(RELOAD, f"{RELOAD}\n    hot_reload.timeout 1"))
        os.kill(station.shipper.check().pid, signal.SIGHUP)
        station.until_told(DONE)

        assert station.told("what is left was in memory alone; what cannot be read again is lost, outputs=a")


@contextmanager
def reload_while_a_filter_holds(folder: Path, output: str = "") -> Iterator[tuple[Station, int]]:
    """A station that is asked to reload while its output is away and a group of lines is open; gives the TCP port too.

    What the output is owed until then is in a file and would be read again; the group is in memory alone.
    """
    port = unused_port()
    sections = (
        f"[INPUT]\n    name tcp\n    tag t.tcp\n    listen 127.0.0.1\n    port {port}\n    format none\n"
        "[FILTER]\n    name multiline\n    match t.tcp\n    multiline.key_content log\n"
        "    multiline.parser java\n    flush_ms 600000\n"
    )
    station = Station(
        folder,
        service=f"{RELOAD}; grace 1; http_server on; http_port 0",
        sections=sections,
        path=None,
        tail="",
        output=output,
    )
    with station:
        log = station.log()
        station.start()
        station.close()
        log.write(1)
        station.until_told("failed to flush chunk|records dropped")
        push(port, TRACE)
        api = Api(station)
        station.until(lambda: api.metric('shipper_input_held_records{name="tcp.1"}') == 1)
        os.kill(station.shipper.check().pid, signal.SIGHUP)
        yield station, port


TRACE = 'Exception in thread "main" java.lang.NullPointerException: boo'


def push(port: int, text: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sender:
        sender.sendall(f"{text}\n".encode())


def test_y1_what_a_filter_holds_is_waited_for_while_everything_goes_on(tmp_path: Path) -> None:
    with reload_while_a_filter_holds(tmp_path) as (station, port):
        station.until_told("the reload is put off until what is in memory alone is delivered.*outputs=a")
        push(port, "beside")
        was_stopped = station.told("pausing all inputs")
        station.open()
        station.until_told(DONE)
        station.until_arrived(count=3)
        station.stop()

        assert was_stopped is None
        assert {TRACE, "beside"} < set(station.arrived())


def test_y1_what_a_filter_holds_is_given_up_when_the_retries_are_used_up(tmp_path: Path) -> None:
    with reload_while_a_filter_holds(tmp_path, "retry_limit 1") as (station, port):
        station.until_told(DONE)
        station.until_told("records dropped.*tag=t.tcp")
        push(port, "after")


# -- quick successive requests -----------------------------------------------------------------------------------------


def test_y3_of_twenty_quick_signals_the_newest_configuration_runs(tmp_path: Path) -> None:
    with Station(tmp_path, service=RELOAD) as station:
        log = station.log()
        station.start()
        text = text_of(station)
        for number in range(20):
            station.configure(text.replace("file all", f"file all.{number}"))
            os.kill(station.shipper.check().pid, signal.SIGHUP)
            time.sleep(0.05)
        # The last signal may be answered by one more reload than was seen until now.
        last = tmp_path / "a" / "all.19"

        def written_to_the_last() -> bool:
            log.write(1)
            return last.exists()

        station.until(written_to_the_last)
        before, done = {path.name for path in last.parent.iterdir()}, reloads(station)
        log.write(10)
        time.sleep(0.5)

        assert {path.name for path in last.parent.iterdir()} == before
        assert 1 <= reloads(station) == done <= 20
        station.stop()


def test_y3_the_api_says_that_a_reload_goes_on(tmp_path: Path) -> None:
    with reload_that_waits(tmp_path, "grace 1; http_server on; http_port 0") as station:
        answer = Api(station).get("/api/v2/reload", "POST")

        assert answer == (400, '{"reload":"in progress","status":-2}')


# -- a reload that cannot be -------------------------------------------------------------------------------------------


def unknown_output(text: str) -> str:
    return text.replace("name file", "name flie")


def unknown_option(text: str) -> str:
    return text.replace("format template", "formt template")


def no_configuration(text: str) -> str:
    return "[SERVICE\n" + text


def missing_include(text: str) -> str:
    return "@INCLUDE nowhere.conf\n" + text


def pipe_included(text: str) -> str:
    found = re.search(r"path (\S+)/var/", text)
    assert found is not None
    pipe = f"{found[1]}/pipe.conf"
    os.mkfifo(pipe)
    return f"@INCLUDE {pipe}\n{text}"


def missing_script(text: str) -> str:
    return text + "[FILTER]\n    name lua\n    match *\n    script nowhere.lua\n    call f\n"


@pytest.mark.parametrize(
    ("spoil", "told", "halted"),
    [
        (unknown_output, r"\[config\] \S+shipper\.conf:\d+: .*'flie'.* - did you mean 'file'\?", "config is invalid"),
        (unknown_option, r"\[config\] \S+shipper\.conf:\d+: file: .*'formt'.* did you mean", "config is invalid"),
        (no_configuration, r"\[config\] \S+shipper\.conf:1", "config format is invalid"),
        (missing_include, r"\[config\] \S+shipper\.conf:1: .*nowhere\.conf", "config format is invalid"),
        (
            pipe_included,
            r"\[config\] \S+shipper\.conf:1: .*/pipe\.conf.*not a regular file",
            "config format is invalid",
        ),
        (missing_script, r"\[config\] \S+shipper\.conf:\d+: lua: .*nowhere\.lua", "config is invalid"),
    ],
)
def test_y4_a_bad_configuration_leaves_the_old_one_running(
    tmp_path: Path, spoil: Callable[[str], str], told: str, halted: str
) -> None:
    with Station(tmp_path, service=f"{RELOAD}; http_server on; http_port 0") as station:
        log = station.log()
        station.start()
        api, good = Api(station), text_of(station)
        log.write(10)
        station.until_arrived()
        station.configure(spoil(good))
        answer = api.get("/api/v2/reload", "POST")
        station.until_told(rf"\[error\] \[reload\] reloaded {halted}\. Reloading is halted")
        log.write(10)
        station.until_arrived()
        names = ('fluentbit_input_records_total{name="tail.0"}', "shipper_hot_reload_failed_total")
        counts = [api.metric(name) for name in names]
        station.configure(good)
        reload(station)
        after = api.metric("shipper_hot_reload_failed_total"), api.json("/api/v2/reload")
        ledger = station.stop()

        assert answer == (200, '{"reload":"done","status":0}')
        assert station.told(told), station.shipper.end_of_log()
        assert counts == [20, 1], "its counters went on"
        assert after == (1, {"hot_reload_count": 1})
        assert_complete(station.verdict())
        assert ledger["tail.0"]["read"] == 0, "those of a new one begin with nothing"


def test_y4_if_the_new_one_cannot_start_the_old_one_goes_on(tmp_path: Path) -> None:
    with Station(tmp_path, service=f"{RELOAD}; http_server on; http_port 0") as station, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        log = station.log()
        station.start()
        api, good = Api(station), text_of(station)
        port = taken.getsockname()[1]
        station.configure(good + f"[INPUT]\n    name tcp\n    listen 127.0.0.1\n    port {port}\n    tag t.tcp\n")
        with written_steadily(log):
            os.kill(station.shipper.check().pid, signal.SIGHUP)
            station.until_told("cannot be started; going back to the one before it")
            time.sleep(0.5)
        station.until_arrived()
        failed, count = api.metric("shipper_hot_reload_failed_total"), api.json("/api/v2/reload")
        station.stop()

        assert station.told(r"\[config\] \S+shipper\.conf:\d+: tcp: .*in use"), station.shipper.end_of_log()
        assert (failed, count, reloads(station)) == (1, {"hot_reload_count": 0}, 0)
        assert_complete(station.verdict())


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
@pytest.mark.parametrize("after", ["storage.path {0}/elsewhere", ""])
def test_y4_a_folder_with_records_that_are_owed_is_not_left_behind(tmp_path: Path, storage: str, after: str) -> None:
    with Station(tmp_path, ("a", "b"), service=RELOAD, tail=f"storage.type {storage}") as station:
        log = station.log()
        station.start()
        station.close("a")
        log.write(100)
        station.until_arrived("b")
        station.until_told("failed to flush chunk")
        good = text_of(station)
        changed = good.replace(f"storage.path {station.storage}", after.format(tmp_path))
        station.configure(changed.replace("storage.type filesystem", "" if not after else "storage.type filesystem"))
        os.kill(station.shipper.check().pid, signal.SIGHUP)
        told = station.until_told(
            r"\[config\] (\S+shipper\.conf:\d+: )?storage\.path cannot go from (\S+) to (\S+): (\d+)"
        )
        station.until_told("cannot be started; going back to the one before it")
        station.open("a")
        station.until_arrived("a")
        station.until(lambda: station.stored_bytes() == 0)
        # Now nothing would be left behind.
        reload(station)
        log.write(10)
        station.until_arrived("a")
        station.until_arrived("b")
        station.stop()

        assert told.group(2, 4) == (str(station.storage), "100")
        assert_complete(station.verdict("a"))
        assert_complete(station.verdict("b"))


def test_y4_a_file_that_cannot_be_read_to_its_end_holds_up_nothing(tmp_path: Path) -> None:
    """The configuration is a pipe to which nobody writes for a while, as a disk may not answer."""
    with Station(tmp_path, service=RELOAD) as station:
        log, text = station.log(), text_of(station)
        station.start()
        pipe = tmp_path / "shipper.conf"
        pipe.unlink()
        os.mkfifo(pipe)
        os.kill(station.shipper.check().pid, signal.SIGHUP)
        station.until_told("reloading instance")
        log.write(10)
        station.until_arrived()
        before = reloads(station)
        pipe.write_text(text)
        station.until_told(DONE)
        log.write(10)
        station.until_arrived()
        station.stop()

        assert before == 0
        assert_complete(station.verdict())


def test_y4_what_is_logged_and_where_goes_with_the_configuration(tmp_path: Path) -> None:
    one, other = tmp_path / "one.log", tmp_path / "other.log"

    def has(path: Path, text: str) -> Callable[[], bool]:
        return lambda: path.exists() and text in path.read_text()

    def ask() -> None:
        os.kill(station.shipper.check().pid, signal.SIGHUP)

    with Station(tmp_path, service=f"{RELOAD}; log_file {one}; log_level info") as station:
        station.start(until_watching=False)
        station.until(has(one, "Shutdown Grace Period"))
        good = text_of(station)
        one.rename(tmp_path / "one.log.1")
        ask()
        station.until(has(one, DONE))
        station.configure(good.replace("one.log", "other.log").replace("log_level info", "log_level warn"))
        ask()
        station.until(other.exists)
        station.configure(good.replace("one.log", "nowhere/x.log"))
        ask()
        station.until(has(other, "Reloading is halted"))
        station.shipper.terminate()

        assert has(other, "nowhere/x.log' cannot be opened")()
        assert "[ info]" not in other.read_text()


# -- beside it ---------------------------------------------------------------------------------------------------------


def test_y2_the_monitoring_api_answers_all_the_time(tmp_path: Path) -> None:
    with Station(tmp_path, service=f"{RELOAD}; http_server on; http_port 0") as station:
        station.log().write(100)
        station.start()
        api, is_over, answers = Api(station), threading.Event(), list[int]()

        def ask() -> None:
            while not is_over.wait(0.002):
                answers.append(api.get("/live")[0])

        asking = threading.Thread(target=ask)
        asking.start()
        for _ in range(5):
            reload(station)
        is_over.set()
        asking.join()
        count = api.json("/api/v2/reload")
        station.stop()

        assert len(answers) > 20
        assert set(answers) == {200}
        assert count == {"hot_reload_count": 5}


def test_y2_reloads_do_not_make_it_grow(tmp_path: Path) -> None:
    with Station(tmp_path, ("a", "b"), service=f"{RELOAD}; http_server on; http_port 0") as station:
        log = station.log()
        station.start()
        log.write(1000)
        station.until_arrived("b")
        for _ in range(5):
            reload(station)
        # Some are open for moments only.
        files, before = len(station.shipper.open_files()) + 3, resident_kb(station.shipper.check().pid)
        for _ in range(40):
            reload(station)
        grown = resident_kb(station.shipper.check().pid) - before

        assert len(station.shipper.open_files()) <= files, "one that is never closed would be there 40 times"
        assert grown < 2000
