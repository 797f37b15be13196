"""Users' rows F5, B3, A3, Z1 to Z5 (health is progress), U1, U2, U5 (numbers), SEC1 and Y4 (what can be asked)."""

from __future__ import annotations

import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.components.shipper_process import shipper_command
from tests.monitoring.scene import own_address
from tests.outputs.s3.server import SmallS3, s3

from .cloudwatch import CREDENTIALS, OK, Answer, CloudWatch
from .storing import Station, resident_kb

__all__ = ["s3"]

QUICK = "http_server on; http_port 0; health_check on; hc_period 4"
"""Health is bad after 3.1 seconds without progress, where the default is 46."""

_POST = b"POST /api/v2/reload HTTP/1.1\r\nContent-Length: 0\r\n\r\n"

RED_S = 60.0 / 15 + 2
"""A minute at that scale, and what a busy machine takes."""

GREEN_S = 10.0


class Api:
    """The monitoring API of the shipper of a station, at the port that its log tells."""

    def __init__(self, station: Station) -> None:
        found = station.until_told(r"\[http_server\] listen iface=127\.0\.0\.1 tcp_port=(\d+)")
        self.port = int(found[1])
        self._station = station

    def get(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        return msgspec.json.decode(self.get(path)[1])

    def until_health(self, status: int, patience_s: float) -> float:
        """Wait for this status of the health; gives the seconds it took."""
        return self._station.until(lambda: self.get("/api/v1/health")[0] == status, patience_s)

    def metric(self, series: str) -> float:
        """The value of a series by its name and labels as text."""
        return _number(self.get("/api/v2/metrics/prometheus")[1], series)


def station_with(folder: Path, service: CloudWatch, more: str = QUICK, **others: Any) -> Station:
    return Station(folder, (), service=more, sections=service.output(), variables=CREDENTIALS, **others)


class _Taking(BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nobody reads it."""


# -- health is progress ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_f5_z1_a_destination_that_hangs_is_red_with_the_reason_and_green_when_it_is_back(
    tmp_path: Path, storage: str
) -> None:
    """Scale 1 to 15. Nothing fails here, so a health that counts errors would stay good for ever."""
    with CloudWatch() as service, station_with(tmp_path, service, tail=f"storage.type {storage}") as station:
        log = station.log()
        station.start()
        api = Api(station)
        log.write(100)
        station.until(lambda: len(service.all_messages()) >= 100)
        before = api.get("/api/v1/health")
        service.gate.clear()
        log.write(100)
        red_after = api.until_health(500, RED_S)
        reason, details = api.get("/api/v1/health")[1], api.json("/api/v2/health")
        service.gate.set()
        green_after = api.until_health(200, GREEN_S)
        station.until(lambda: len(service.all_messages()) >= 200)
        station.stop()

        assert before == (200, "ok\n")
        assert (red_after <= RED_S, green_after <= GREEN_S) == (True, True)
        assert re.fullmatch(
            r"error\noutput cw: nothing accepted for \d+ s, 100 records \(\d+ bytes\) wait; "
            r"1 deliveries without an answer\n",
            reason,
        )
        assert (details["status"], details["errors"]) == ("error", 0)


def test_z1_a_host_that_is_dead_is_red_with_what_the_system_says(tmp_path: Path) -> None:
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = dead.getsockname()[1]
        section = f"[OUTPUT]\n    name http\n    alias web\n    match *\n    host 127.0.0.1\n    port {port}\n"
        service = f"{QUICK}; scheduler.cap 2000"
        with Station(tmp_path, (), service=service, sections=section) as station:
            log = station.log()
            station.start()
            api = Api(station)
            log.write(10)
            api.until_health(500, RED_S)
            reason = api.get("/api/v1/health")[1]
            time.sleep(10)  # so that the back-off alone would take longer than the row allows
            revived = HTTPServer(("127.0.0.1", port), _Taking, bind_and_activate=False)
            revived.socket.close()
            revived.socket = dead
            revived.server_activate()
            threading.Thread(target=revived.serve_forever, args=(0.05,), daemon=True).start()
            green_after = api.until_health(200, GREEN_S)
            station.stop()
            revived.shutdown()

            assert re.search(r"output web: .* 10 records .* last error: .*refused", reason, re.IGNORECASE)
            assert green_after <= GREEN_S


def test_z1_a_name_that_leads_nowhere_is_red_and_told(tmp_path: Path) -> None:
    section = "[OUTPUT]\n    name http\n    alias web\n    match *\n    host nowhere.invalid\n    port 80\n"
    with Station(tmp_path, (), service=QUICK, sections=section) as station:
        log = station.log()
        station.start()
        api = Api(station)
        log.write(10)
        api.until_health(500, RED_S + 10)  # a resolver that does not answer takes its time
        reason = api.get("/api/v1/health")[1]
        station.stop()

        assert re.search(r"output web: .* 10 records .* last error: .*nowhere\.invalid", reason)


def test_a3_a_missing_permission_is_red_and_named_and_nothing_is_lost(tmp_path: Path) -> None:
    message = "User: x is not authorized"
    denied = Answer(400, "AccessDeniedException", message)
    with CloudWatch(lambda operation, body: denied) as service, station_with(tmp_path, service) as station:
        log = station.log()
        station.start()
        api = Api(station)
        log.write(50)
        api.until_health(500, RED_S)
        reason = api.get("/api/v1/health")[1]
        service.decide = lambda operation, body: OK
        station.until(lambda: len(service.all_messages()) >= 50, 90)
        api.until_health(200, GREEN_S)
        station.stop()

        assert "output cw: nothing accepted" in reason
        assert "logs:PutLogEvents" in reason and message in reason


def test_b3_uploads_that_hang_are_red_and_resume(tmp_path: Path, s3: SmallS3) -> None:
    """What waits for the time of its upload is healthy; what is due and does not get through is not."""
    gate = threading.Event()
    healthy = s3.answer

    def answer(*request: Any) -> Any:
        gate.wait()
        return healthy(*request)

    s3.answer = answer  # type: ignore[method-assign, assignment]
    section = (
        f"[OUTPUT]\n    name s3\n    alias bucket\n    match *\n    bucket b\n    endpoint {s3.url}\n"
        f"    store_dir {tmp_path}/store\n    total_file_size 1M\n    upload_timeout 6s\n"
    )
    with Station(tmp_path, (), service=QUICK, sections=section, variables=CREDENTIALS) as station:
        log = station.log()
        station.start()
        api = Api(station)
        log.write(100)
        begin = time.monotonic()
        station.until(lambda: api.json("/health")["outputs"]["bucket"]["kept_records"] == 100)
        statuses = set()
        while time.monotonic() - begin < 5:
            statuses.add(api.get("/api/v1/health")[0])
            time.sleep(0.2)
        api.until_health(500, 6 + RED_S)
        reason = api.get("/api/v1/health")[1]
        gate.set()
        api.until_health(200, GREEN_S)
        station.until(lambda: len(s3.lines()) == 100)
        station.stop()

        assert statuses == {200}
        assert re.search(r"output bucket: .* 100 records .* what it keeps is due and does not get through", reason)


def test_z3_there_are_pages_for_alive_for_ready_and_for_progress(tmp_path: Path) -> None:
    with CloudWatch() as service, station_with(tmp_path, service) as station:
        log = station.log()
        station.start()
        api = Api(station)
        service.gate.clear()
        log.write(10)
        api.until_health(500, RED_S)
        found = {path: api.get(path)[0] for path in ("/live", "/ready", "/health")}
        service.gate.set()
        station.stop()

        assert found == {"/live": 200, "/ready": 200, "/health": 500}


def test_z3_a_command_of_the_image_asks_for_the_progress(tmp_path: Path) -> None:
    with CloudWatch() as service, station_with(tmp_path, service) as station:
        log = station.log()
        station.start()
        api = Api(station)
        good = _health_command(api.port)
        service.gate.clear()
        log.write(10)
        api.until_health(500, RED_S)
        bad = _health_command(api.port)
        service.gate.set()
        station.stop()
        away = _health_command(api.port)

        assert good == (0, "ok\n")
        assert bad[0] == 1 and "output cw: nothing accepted" in bad[1]
        assert away == (1, f"no answer from 127.0.0.1 port {api.port}: Connection refused\n")


def test_z5_a_port_in_use_ends_the_start_with_the_reason(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        arguments = ["-i", "dummy", "-o", "null", "-H", "-P", port]
        ran = subprocess.run([shipper_command(), *arguments], capture_output=True, text=True, timeout=20)

    assert ran.returncode == 255
    assert f"[http_server] cannot listen on 127.0.0.1 port {port}" in ran.stderr


@pytest.mark.parametrize("name", ["forward", "tcp", "http"])
def test_z5_an_input_whose_port_is_in_use_ends_the_start_with_the_reason(name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        arguments = ["-i", "dummy", "-i", name, "-p", "listen=127.0.0.1", "-p", f"port={port}", "-o", "stdout"]
        ran = subprocess.run([shipper_command(), *arguments], capture_output=True, text=True, timeout=20)

    assert ran.returncode == 255
    assert re.search(rf"\[error\] .*{port}.*in use", ran.stderr, re.IGNORECASE), ran.stderr
    assert ran.stdout == ""


def test_z5_with_too_many_files_the_rest_goes_on_and_the_limit_is_told(tmp_path: Path) -> None:
    """200 files and 100 descriptors: the followed files leave some to the output and to the pages."""
    with Station(tmp_path, service=QUICK) as station:
        station.start()
        api = Api(station)
        most = resource.prlimit(station.shipper.check().pid, resource.RLIMIT_NOFILE)[0]
        resource.prlimit(station.shipper.check().pid, resource.RLIMIT_NOFILE, (100, most))
        for number in range(200):
            station.log(f"c{number:03}").write(1)
        station.until(lambda: api.metric('shipper_input_files_unopened{name="tail.0"}') > 100)
        station.until(lambda: api.metric('fluentbit_output_proc_records_total{name="a"}') > 0)
        told = station.until_told(r"\[error\] \[input:tail:tail\.0\] files cannot be opened, .*").group()
        warnings = api.json("/health")["warnings"]
        resource.prlimit(station.shipper.check().pid, resource.RLIMIT_NOFILE, (most, most))
        station.until_arrived()
        unopened = api.metric('shipper_input_files_unopened{name="tail.0"}')
        station.stop()

        assert re.search(r"input tail\.0: \d+ files wait because too many are open", "".join(warnings))
        assert "limit=100, remedy=raise the limit of open files" in told
        assert unopened == 0


def test_z5_without_the_server_nothing_listens(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        station.start()
        sockets = [name for name in station.shipper.open_files() if name.startswith("socket:")]
        listening = [line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
        station.stop()

        assert not [name for name in sockets if name[8:-1] in listening]


# -- numbers that answer questions -------------------------------------------------------------------------------------


def test_u1_the_ledger_balances_while_records_are_on_their_way_and_dropped(tmp_path: Path) -> None:
    grep = "[FILTER]\n    name grep\n    match *\n    exclude log #7\n"
    with Station(tmp_path, ["a", "b"], service=QUICK, sections=grep) as station:
        log = station.log()
        station.start()
        api = Api(station)
        station.close("b")
        looks = []
        for _ in range(20):
            log.write(500)
            time.sleep(0.05)
            looks.append(api.json("/ledger"))
        station.until(lambda: api.json("/ledger")["inputs"][0]["read"] == 10_000)
        last = api.json("/ledger")
        station.open("b")
        station.stop()

        by_name = {account["name"]: account for account in last["outputs"]}
        assert all(look["balanced"] for look in looks)
        assert by_name["b"]["routed"] == by_name["b"]["held"] == 10_000 - last["inputs"][0]["filtered"]


def test_u2_the_lag_in_bytes_and_seconds_is_that_of_the_file(tmp_path: Path) -> None:
    with CloudWatch() as service, station_with(tmp_path, service, tail="mem_buf_limit 300k", path=None) as station:
        log = station.log()
        station.start()
        api = Api(station)
        service.gate.clear()
        size = log.write(20_000)
        written_at = time.monotonic()
        station.until(lambda: api.metric('fluentbit_input_ingestion_paused{name="tail.0"}') == 1)
        time.sleep(3)
        lag_bytes = api.metric('shipper_input_lag_bytes{name="tail.0"}')
        lag_s = api.metric('shipper_input_lag_seconds{name="tail.0"}')
        true_lag_s = time.monotonic() - written_at
        read = api.metric('fluentbit_input_bytes_total{name="tail.0"}')
        service.gate.set()
        station.until(lambda: len(service.all_messages()) >= log.written)
        station.until(lambda: api.metric('shipper_input_lag_bytes{name="tail.0"}') == 0)
        station.stop()

        assert 0 < lag_bytes <= size - read
        assert lag_s == pytest.approx(true_lag_s, abs=1.0)


def test_u2_the_lag_is_the_age_of_the_oldest_unread_line_while_the_destination_is_too_slow(tmp_path: Path) -> None:
    """Written steadily, delivered more slowly: what is unread is always younger than the time since it fell behind."""

    def answer(operation: str, body: Any) -> Answer:
        return Answer(delay_s=0.25 if operation == "PutLogEvents" else 0.0)

    with (
        CloudWatch(answer) as service,
        station_with(tmp_path, service, tail="mem_buf_limit 300k", path=None) as station,
    ):
        log = station.log()
        station.start()
        api = Api(station)
        written: list[tuple[int, float]] = []
        began = time.monotonic()
        told: list[tuple[float, float]] = []
        while time.monotonic() - began < 8:
            size = log.write(200) + (written[-1][0] if written else 0)
            written.append((size, time.monotonic()))
            text = api.get("/api/v2/metrics/prometheus")[1]
            unread, lag_s = (
                _number(text, f'shipper_input_lag_{unit}{{name="tail.0"}}') for unit in ("bytes", "seconds")
            )
            now = time.monotonic()
            first_unread = next((at for end, at in written if end > size - unread), now)
            told.append((lag_s, now - first_unread))
            time.sleep(0.05)
        station.stop()

    assert max(true_s for _, true_s in told) > 0
    assert told[-1][0] == pytest.approx(told[-1][1], abs=1.0)


def test_u2_a_pause_names_limit_output_and_remedy(tmp_path: Path) -> None:
    with CloudWatch() as service, station_with(tmp_path, service, tail="mem_buf_limit 300k", path=None) as station:
        log = station.log()
        station.start()
        api = Api(station)
        service.gate.clear()
        log.write(20_000)
        station.until(lambda: bool(api.json("/health")["warnings"]))
        (warning,) = api.json("/health")["warnings"]
        busy = api.metric('fluentbit_output_upstream_busy_connections{name="cw"}')
        before = api.metric('fluentbit_output_upstream_total_connections{name="cw"}')
        service.gate.set()
        station.until(lambda: len(service.all_messages()) >= log.written)
        waits = api.metric('fluentbit_output_backpressure_wait_seconds_count{output="cw"}')
        waited_s = api.metric('fluentbit_output_backpressure_wait_seconds_sum{output="cw"}')
        station.until(lambda: api.metric('fluentbit_output_upstream_busy_connections{name="cw"}') == 0)
        station.stop()

        assert re.fullmatch(
            r"input tail\.0: paused at its limit 300000 bytes \(Mem_Buf_Limit\), waits for output cw \d+ records; "
            r"see to that output, or raise Mem_Buf_Limit",
            warning,
        )
        assert before >= busy >= 1
        assert waits >= 1
        assert waited_s > 0


def test_u5_both_versions_of_the_api_tell_the_same(tmp_path: Path) -> None:
    with Station(tmp_path, service=QUICK) as station:
        log = station.log()
        station.start()
        api = Api(station)
        log.write(1000)
        station.until_arrived()
        station.until(lambda: api.json("/api/v1/metrics")["output"]["a"]["proc_records"] == 1000)
        v1, text = api.json("/api/v1/metrics"), api.get("/api/v1/metrics/prometheus")[1]
        v2 = {what: api.metric(f'fluentbit_input_{what}_total{{name="tail.0"}}') for what in ("records", "bytes")}
        uptimes = api.json("/api/v1/uptime")["uptime_sec"], api.metric(f'fluentbit_uptime{{hostname="{_host()}"}}')
        station.stop()

        assert {what: v1["input"]["tail.0"][what] for what in v2} == v2
        assert re.search(r'^fluentbit_input_records_total\{name="tail\.0"\} 1000 \d{13}$', text, re.MULTILINE)
        assert v1["input"]["tail.0"]["files_opened"] == 1
        assert abs(uptimes[0] - uptimes[1]) <= 1


# -- what can be asked of it -------------------------------------------------------------------------------------------


def test_y4_without_hot_reload_nothing_is_reloaded(tmp_path: Path) -> None:
    with Station(tmp_path, service=QUICK) as station:
        log = station.log()
        station.start()
        api = Api(station)
        answers = [api.get("/api/v2/reload", method) for method in ("POST", "PUT", "GET", "DELETE")]
        os.kill(station.shipper.check().pid, signal.SIGHUP)
        station.until_told("hot reloading is not enabled")
        log.write(10)
        station.until_arrived()
        station.stop()

        assert answers == [
            (200, '{"reload":"not enabled","status":-1}'),
            (200, '{"reload":"not enabled","status":-1}'),
            (200, '{"hot_reload_count":0}'),
            (405, ""),
        ]


def test_sec1_hostile_clients_neither_stop_it_nor_make_it_grow(tmp_path: Path) -> None:
    """Wrong types, sizes and slow clients, in small; `tests/monitoring` has each alone."""
    with Station(tmp_path, service=QUICK) as station:
        log = station.log()
        station.start()
        api = Api(station)
        _answer_of(api.port, _noise(0))
        size_kb = resident_kb(station.shipper.check().pid)
        slow = [_open(api.port, b"GET /api/v1/metr") for _ in range(100)]
        for n in range(300):
            _open(api.port, _noise(n)).close()
        answers = {_answer_of(api.port, _noise(n) + b"\r\n\r\n")[:12] for n in range(50)}
        log.write(1000)
        station.until_arrived()
        stayed = [_open(api.port, b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n") for _ in range(100)]
        alive, status = api.get("/live")[0], api.get("/api/v1/metrics")[0]
        growth_kb = resident_kb(station.shipper.check().pid) - size_kb
        for client in (*slow, *stayed):
            client.close()
        station.stop()

        assert (alive, status) == (200, 200)
        assert growth_kb < 5000
        assert not [answer for answer in answers if answer.startswith(b"HTTP/1.1 5")]


def test_sec1_nobody_reloads_without_the_token(tmp_path: Path) -> None:
    service = f"{QUICK}; hot_reload on; hot_reload.token ${{RELOAD_TOKEN}}"
    with Station(tmp_path, service=service, variables={"RELOAD_TOKEN": "s3cret"}) as station:
        station.start()
        api = Api(station)
        refused = [api.get("/api/v2/reload", "POST"), api.get("/api/v2/reload", "PUT", {"Authorization": "Bearer x"})]
        count = api.json("/api/v2/reload")
        accepted = api.get("/api/v2/reload", "POST", {"Authorization": "Bearer s3cret"})
        station.until_told("successful reload done")
        station.stop()

        assert (refused, count) == ([(401, ""), (401, "")], {"hot_reload_count": 0})
        assert accepted == (200, '{"reload":"done","status":0}')
        assert "s3cret" not in (tmp_path / "shipper.log").read_text()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_sec1_a_token_that_is_empty_ends_the_start(tmp_path: Path, more: list[str]) -> None:
    configuration = tmp_path / "shipper.conf"
    service = "http_server on\n    http_port 0\n    hot_reload on\n    hot_reload.token ${NO_SUCH_TOKEN}"
    configuration.write_text(
        f"[SERVICE]\n    {service}\n[INPUT]\n    name dummy\n[OUTPUT]\n    name null\n    match *\n"
    )
    command = [shipper_command(), "-c", str(configuration), *more]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert ran.returncode != 0
    assert "hot_reload.token" in ran.stderr
    assert "is empty, so nobody would have to know it" in ran.stderr


def test_sec1_without_a_token_only_the_machine_itself_reloads(tmp_path: Path) -> None:
    """An address of the machine that is not the loopback stands for another machine."""
    address = own_address()
    with Station(tmp_path, service="http_server on; http_port 0; http_listen 0.0.0.0; hot_reload on") as station:
        station.start()
        port = int(station.until_told(r"listen iface=0\.0\.0\.0 tcp_port=(\d+)")[1])
        far = (
            _status_of(_answer_of(port, _POST, address)),
            _status_of(_answer_of(port, b"GET /live HTTP/1.1\r\n\r\n", address)),
        )
        near = _status_of(_answer_of(port, _POST))
        station.until_told("successful reload done")
        station.stop()

        assert (far, near) == ((403, 200), 200)


def _host() -> str:
    return socket.gethostname()


def _number(text: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _health_command(port: int) -> tuple[int, str]:
    ran = subprocess.run(
        [shipper_command(), "health", "--port", str(port)], capture_output=True, text=True, timeout=30, check=False
    )
    return ran.returncode, ran.stdout


def _status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def _open(port: int, data: bytes, address: str = "127.0.0.1") -> socket.socket:
    client = socket.create_connection((address, port), timeout=5, source_address=(address, 0))
    client.sendall(data)
    return client


def _answer_of(port: int, data: bytes, address: str = "127.0.0.1") -> bytes:
    with _open(port, data, address) as client:
        client.shutdown(socket.SHUT_WR)
        try:
            return client.recv(1000)
        except ConnectionError:
            return b""


def _noise(number: int) -> bytes:
    makers: list[Callable[[], bytes]] = [
        lambda: b"\x16\x03\x01\x02\x00\x01" * number,
        lambda: b"POST /api/v2/reload HTTP/1.1\r\nContent-Length: 99999999999",
        lambda: b"GET /" + b"a" * 50 * number,
        lambda: b"PUT /api/v2/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        lambda: b'TRACE /api/v1/trace/x HTTP/1.1\r\n\r\n{"output": {"a": [1, {}]}}',
    ]
    return makers[number % len(makers)]()
