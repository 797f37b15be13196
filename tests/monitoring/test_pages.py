"""The pages, held against the shapes that Fluent Bit's have."""

from __future__ import annotations

import asyncio

import pytest

from shipper.monitoring.pages import size_text, uptime_text
from shipper.monitoring.server import Request
from shipper.testing import MemoryOutput, settle

from .scene import Scene, delivering

V1_METRICS = (
    '{"input":{"app":{"records":3,"bytes":6,"files_opened":0,"files_closed":0,"files_rotated":0,'
    '"multiline_truncated":0,"long_line_truncated":0,"long_line_skipped":0}},'
    '"filter":{"grep.0":{"drop_records":1,"add_records":0,"records":4,"bytes":60,"drop_bytes":30}},'
    '"output":{"out.0":{"proc_records":0,"proc_bytes":0,"errors":0,"retries":0,"retries_failed":0,'
    '"dropped_records":0,"retried_records":0}}}'
)
STORAGE = (
    '{"storage_layer":{"chunks":{"total_chunks":1,"mem_chunks":1,"fs_chunks":0,"fs_chunks_up":0,"fs_chunks_down":0}},'
    '"input_chunks":{"app":{"status":{"overlimit":false,"mem_size":"82b","mem_limit":"976.6K"},'
    '"chunks":{"total":1,"up":1,"down":0,"busy":0,"busy_size":"0b"}}}}'
)


def watched(**more: object) -> Scene:
    scene = Scene(**more)  # type: ignore[arg-type]
    scene.watch()
    return scene


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 day, 0 hour, 0 minute and 0 second"),
        (1, "0 day, 0 hour, 0 minute and 1 second"),
        (7, "0 day, 0 hour, 0 minute and 7 seconds"),
        (60, "0 day, 0 hour, 1 minute and 0 second"),
        (2 * 86400 + 3 * 3600 + 4 * 60 + 5, "2 days, 3 hours, 4 minutes and 5 seconds"),
    ],
)
def test_a_unit_of_the_uptime_gets_its_plural_above_one(seconds: int, text: str) -> None:
    assert uptime_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0b"), (112, "112b"), (1023, "1023b"), (1024, "1.0K"), (100_000_000, "95.4M"), (5 * 1024**3, "5.0G")],
)
def test_a_size_is_shown_as_in_fluent_bit(size: int, text: str) -> None:
    assert size_text(size) == text


def test_the_root_tells_the_version() -> None:
    about = watched().json("/")["fluent-bit"]

    assert (about["version"], about["edition"], list(about)) == ("5.1.1", "Community", ["version", "edition", "flags"])


async def test_the_uptime_counts_from_the_start() -> None:
    scene = watched()
    await scene.clock.advance(9.9)

    assert scene.get("/api/v1/uptime").body == (
        b'{"uptime_sec":9,"uptime_hr":"Fluent Bit has been running:  0 day, 0 hour, 0 minute and 9 seconds"}'
    )


def test_the_counters_of_v1_have_their_order() -> None:
    scene = watched()
    scene.put("a", "b", "c")
    grep = scene.context("filter", "grep.0")
    grep.counter("records_total").add(4)
    grep.counter("bytes_total").add(60)
    grep.dropped(1, 30, "filtered", wanted=True)

    answer = scene.get("/api/v1/metrics")

    assert answer.body.decode() == V1_METRICS
    assert (answer.status, answer.content_type) == (200, "application/json")


def test_the_storage_has_the_shape_of_fluent_bit() -> None:
    scene = watched()
    scene.put("abcde")

    assert scene.get("/api/v1/storage").body.decode() == STORAGE


async def test_what_is_on_its_way_is_busy() -> None:
    async with delivering(Scene(MemoryOutput(hang=asyncio.Event()))) as scene:
        scene.put("abcde")
        await scene.pass_time(2)

        chunks = scene.json("/api/v1/storage")["input_chunks"]["app"]["chunks"]

    assert (chunks["busy"], chunks["busy_size"]) == (1, "6b")


def test_with_a_folder_for_storage_the_backlog_is_an_input() -> None:
    scene = watched(has_storage=True)

    assert list(scene.json("/api/v1/storage")["input_chunks"]) == ["app", "storage_backlog.1"]
    assert list(scene.json("/api/v1/metrics")["input"]) == ["app", "storage_backlog.1"]


def test_the_storage_page_goes_with_its_option() -> None:
    assert watched(storage_metrics=False).get("/api/v1/storage").status == 404


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/metrics/", "/nope", "/api/v2/reload/", "//", "/../etc/passwd"])
def test_other_paths_are_not_found_and_say_nothing(path: str) -> None:
    answer = watched().get(path)

    assert (answer.status, answer.body) == (404, b"")


def test_all_plugins_are_listed() -> None:
    plugins = watched().json("/api/v1/plugins")["plugins"]

    assert list(plugins) == ["inputs", "filters", "outputs"]
    assert "tail" in plugins["inputs"] and "grep" in plugins["filters"] and "null" in plugins["outputs"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_reload_is_refused_while_hot_reload_is_off(method: str) -> None:
    answer = watched().get("/api/v2/reload", method)

    assert (answer.status, answer.body) == (200, b'{"reload":"not enabled","status":-1}')


def test_the_reload_page_asks_for_a_reload() -> None:
    answers = [True, False]
    scene = watched(reload=lambda: answers.pop(0))

    first, second = scene.get("/api/v2/reload", "POST"), scene.get("/api/v2/reload", "POST")

    assert (first.status, first.body) == (200, b'{"reload":"done","status":0}')
    assert (second.status, second.body) == (400, b'{"reload":"in progress","status":-2}')


def test_a_page_in_a_browser_cannot_ask_for_a_reload() -> None:
    scene = watched(reload=lambda: pytest.fail("asked"))
    request = Request("POST", "/api/v2/reload", {"origin": "https://example.com"}, is_local=True)

    assert scene.pages.answer(request).status == 403


def test_without_a_token_another_machine_cannot_ask_for_a_reload() -> None:
    scene = watched(reload=lambda: pytest.fail("asked"))

    answer = scene.pages.answer(Request("POST", "/api/v2/reload"))

    assert (answer.status, answer.body) == (403, b"only from this machine, unless hot_reload.token is set\n")


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("header", ["Bearer s3cret", "bearer  s3cret "])
def test_who_has_the_token_can_ask_for_a_reload_from_anywhere(header: str, is_local: bool) -> None:
    scene = watched(reload=lambda: True, reload_token="s3cret")
    request = Request("POST", "/api/v2/reload", {"authorization": header}, is_local=is_local)

    assert scene.pages.answer(request).body == b'{"reload":"done","status":0}'


@pytest.mark.parametrize(
    "headers", [{}, *({"authorization": h} for h in ("Bearer", "Bearer s3cre", "Basic s3cret", "é"))]
)
def test_with_a_token_nobody_else_can_ask_for_a_reload(headers: dict[str, str]) -> None:
    scene = watched(reload=lambda: pytest.fail("asked"), reload_token="s3cret")

    answer = scene.pages.answer(Request("PUT", "/api/v2/reload", headers, is_local=True))

    assert (answer.status, answer.body, answer.headers) == (401, b"", (("www-authenticate", "Bearer"),))


def test_a_token_may_have_characters_of_any_language() -> None:
    scene = watched(reload=lambda: True, reload_token="schlüssel")
    on_the_wire = "Bearer schlüssel".encode().decode("latin-1")
    request = Request("POST", "/api/v2/reload", {"authorization": on_the_wire})

    assert scene.pages.answer(request).status == 200


def test_how_often_there_was_a_reload_is_told_to_everybody() -> None:
    scene = watched(reload=lambda: True, reload_token="s3cret")

    assert scene.pages.answer(Request("GET", "/api/v2/reload")).body == b'{"hot_reload_count":0}'


def test_the_reload_page_tells_how_often_there_was_one() -> None:
    assert watched().get("/api/v2/reload").body == b'{"hot_reload_count":0}'


@pytest.mark.parametrize("method", ["DELETE", "TRACE", "BREW"])
def test_the_reload_page_knows_three_methods(method: str) -> None:
    answer = watched(reload=lambda: True).get("/api/v2/reload", method)

    assert (answer.status, answer.body, answer.headers) == (405, b"", (("allow", "GET, POST, PUT"),))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "get"])
def test_nothing_else_takes_anything(method: str) -> None:
    scene = watched(reload=lambda: True)

    assert {scene.get(path, method).status for path in ("/", "/api/v1/metrics", "/health", "/ledger")} == {405}


def test_v1_prometheus_has_sorted_groups_with_times_and_the_process_without() -> None:
    scene = watched()
    scene.put("a")

    lines = scene.get("/api/v1/metrics/prometheus").body.decode().splitlines()
    theirs = lines[: lines.index("# HELP fluentbit_uptime Number of seconds that Fluent Bit has been running.")]
    names = [line.split()[2] for line in theirs if line.startswith("# TYPE")]

    assert names == sorted(names)
    assert "# HELP fluentbit_input_bytes_total Number of input bytes." in theirs
    assert "# TYPE fluentbit_input_bytes_total counter" in theirs
    assert 'fluentbit_input_bytes_total{name="app"} 2 1700000000000' in theirs
    assert "# HELP fluentbit_filter_records_total Fluentbit metrics." in theirs
    assert "fluentbit_uptime 0" in lines
    assert "process_start_time_seconds 1700000000" in lines
    assert 'fluentbit_build_info{version="5.1.1",edition="Community"} 1' in lines
    assert 'shipper_input_stored_records_total{name="app"} 1' in lines


def test_v2_prometheus_has_the_names_that_dashboards_ask_for() -> None:
    scene = watched()
    scene.put("a")

    answer = scene.get("/api/v2/metrics/prometheus")
    lines = answer.body.decode().splitlines()

    assert answer.content_type == "text/plain; version=0.0.4"
    for line in (
        'fluentbit_input_records_total{name="app"} 1',
        'fluentbit_routing_logs_records_total{input="app",output="out.0"} 1',
        'fluentbit_output_proc_records_total{name="out.0"} 0',
        'fluentbit_output_dropped_records_total{name="out.0"} 0',
        'fluentbit_filter_drop_records_total{name="grep.0"} 0',
        'fluentbit_input_ingestion_paused{name="app"} 0',
        'fluentbit_input_storage_chunks{name="app"} 1',
        "fluentbit_storage_chunks 1",
        "fluentbit_storage_mem_chunks 1",
        'fluentbit_output_chunk_available_capacity_percent{name="out.0"} 100',
        "# TYPE fluentbit_uptime counter",
        "# TYPE fluentbit_process_start_time_seconds gauge",
    ):
        assert line in lines, line


def test_losses_have_a_number_before_the_first_one() -> None:
    """An alert on the increase of a series misses what the series begins with."""
    scene = watched()
    before = scene.get("/api/v2/metrics/prometheus").body.decode().splitlines()
    scene.output.dropped(5, 50, "retries_exhausted")
    scene.output.dropped(7, 70, "no_retries")
    scene.input.dropped(1, 10, "invalid_json")
    scene.input.dropped(9, 90, "ignore_older", wanted=True)
    after = scene.get("/api/v2/metrics/prometheus").body.decode().splitlines()

    output, input = 'shipper_output_lost_records_total{name="out.0"}', 'shipper_input_lost_records_total{name="app"}'
    assert {f"{output} 0", f"{input} 0", "# TYPE shipper_output_lost_records_total counter"} <= set(before)
    assert {f"{output} 12", f"{input} 1"} <= set(after)


async def test_a_delivery_shows_in_the_latency() -> None:
    async with delivering(Scene()) as scene:
        scene.put("a")
        await scene.pass_time(2)
        lines = scene.get("/api/v2/metrics/prometheus").body.decode().splitlines()
        text = scene.get("/api/v2/metrics").body.decode()

    labels = 'input="app",output="out.0"'
    assert "# TYPE fluentbit_output_latency_seconds histogram" in lines
    assert f'fluentbit_output_latency_seconds_bucket{{{labels},le="0.5"}} 1' in lines
    assert f'fluentbit_output_latency_seconds_bucket{{{labels},le="+Inf"}} 1' in lines
    assert f"fluentbit_output_latency_seconds_count{{{labels}}} 1" in lines
    assert (
        f"2023-11-14T22:13:22.000000000Z fluentbit_output_latency_seconds{{{labels}}} = {{ buckets = {{ 0.5=1" in text
    )


def test_v2_lines_have_time_name_and_number() -> None:
    scene = watched()
    scene.put("a", "b", "c")

    text = scene.get("/api/v2/metrics").body.decode()

    assert '2023-11-14T22:13:20.000000000Z fluentbit_input_records_total{name="app"} = 3\n' in text


async def test_the_ledger_tells_the_account_of_every_record() -> None:
    async with delivering(Scene()) as scene:
        scene.put("a", "b")
        held = scene.json("/ledger")
        await scene.pass_time(2)
        delivered = scene.json("/ledger")

    assert (held["balanced"], held["outputs"][0]["held"], held["outputs"][0]["delivered"]) == (True, 2, 0)
    assert (delivered["balanced"], delivered["outputs"][0]["held"], delivered["outputs"][0]["delivered"]) == (
        True,
        0,
        2,
    )
    assert delivered["inputs"][0]["read"] == delivered["inputs"][0]["stored"] == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [("/live", 200), ("/ready", 503), ("/health", 200), ("/", 200), ("/ledger", 503), ("/api/v1/metrics", 503)],
)
async def test_before_the_pipeline_runs_the_process_is_alive_and_not_ready(path: str, status: int) -> None:
    scene = Scene()
    await settle()

    assert scene.get(path).status == status


def test_when_the_pipeline_runs_it_is_ready() -> None:
    assert watched().get("/ready").status == 200


def test_labels_from_files_names_cannot_break_the_text() -> None:
    scene = watched()
    scene.metrics.gauges("input_file_lag_bytes", "file", lambda: {'/a"b\\c\nd': 1.5}, name="app")

    text = scene.get("/api/v2/metrics/prometheus").body.decode()

    assert 'shipper_input_file_lag_bytes{file="/a\\"b\\\\c\\nd",name="app"} 1.5\n' in text
