"""Each filter over records as they are behind the usual steps: a CRI line and the fields of its JSON.

A new filter is one more entry of `FILTERS`, for each way of working that is worth a figure. Filters that need more than
options stand in `ELSEWHERE`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.context import Context
from shipper.filters.aws import AwsFilter, AwsOptions
from shipper.filters.base import Filter, HoldingFilter
from shipper.filters.ecs import EcsFilter, EcsOptions
from shipper.filters.log_to_metrics import LogToMetricsFilter, LogToMetricsOptions
from shipper.filters.stdout import StdoutFilter, StdoutOptions
from shipper.parsers.base import ParserLibrary
from shipper.parsers.library import build_parsers
from shipper.parsers.multiline import built_in_definitions
from shipper.plugins import find_plugin
from shipper.record import Body, RecordBatch
from shipper.testing import context_of
from tests.components.http_server import Got, Says, http_server
from tests.written_options import options_from, section_of

from .material import RECORDS, TAG, count, encoded_pod_batches, pod_batches, record_batches
from .measuring import Stage
from .multiline import messages_with_traces

Test = Callable[[Body], bool]
MakeBatches = Callable[[], list[RecordBatch]]


class Case(msgspec.Struct, frozen=True):
    """A filter with options: which of the records go on, and what is true of each of those."""

    about: str
    lines: str
    holds: Test
    goes_on: Test = lambda body: True
    batches: MakeBatches = record_batches
    moves: bool = False
    """Whether those that go on are those that have got another tag."""


def _fields(*names: str, without: str = "") -> Test:
    """Whether a body has these fields, and not that one."""
    return lambda body: body.keys() >= set(names) and without not in body


_FIELDS = {"user": "u-1", "took_ms": 12, "path": "/api/v1/orders"}
_ACCESS_LOG = '10.0.0.1 - ann [20/Nov/2026:10:00:00 +0000] "GET /api/v1/orders HTTP/1.1" 200 512'
_SET = "function f(tag, ts, record) record['cluster'] = 'one' return 2, ts, record end"
_DROP = "function f(tag, ts, record) if record['level'] == 'debug' then return -1, 0, 0 end return 0, 0, 0 end"
_LEVELS = Path(__file__).with_name("levels.txt")
_PARSERS = (
    "Name json\nFormat json",
    'Name access\nFormat regex\nRegex ^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \\[(?<time>[^\\]]*)\\] "(?<method>\\S+)'
    ' +(?<path>[^"]*?) +\\S*" (?<code>[^ ]*) (?<size>[^ ]*)$\nTime_Key time\nTime_Format %d/%b/%Y:%H:%M:%S %z',
    "Name logfmt\nFormat logfmt",
    "Name ltsv\nFormat ltsv",
)


def _is_error(body: Body) -> bool:
    return bool(body["level"] == "error")


def _begins_message(body: Body) -> bool:
    return not body["log"].startswith(("\tat ", "Caused by"))


def _with_traces() -> list[RecordBatch]:
    return record_batches([line for message in messages_with_traces() for line in message])


def _parsed(parser: str, text: str, *names: str) -> Case:
    """The parser filter over records with this text."""
    lines = f"key_name log\nparser {parser}\nreserve_data on"
    return Case(parser, lines, _fields(*names, without="log"), batches=partial(record_batches, log=text))


FILTERS: Mapping[str, Sequence[Case]] = {
    "checklist": [Case("", f"file {_LEVELS}\nlookup_key level\nrecord known yes", _fields("known"))],
    "content_modifier": [
        Case("insert", "action insert\nkey cluster\nvalue one", _fields("cluster")),
        Case("extract", "action extract\nkey time\npattern ^(?<day>[^T]+)T(?<hour>\\d+)", _fields("day", "hour")),
        Case("hash", "action hash\nkey trace_id", lambda body: len(body["trace_id"]) == 64),
    ],
    "expect": [Case("", "key_exists log\nkey_val_is_not_null level\naction warn", _fields("log"))],
    "grep": [
        Case("Regex", "regex level ^(warn|error)$", _fields("log"), lambda b: b["level"] in ("warn", "error")),
        Case(
            "two Exclude",
            "exclude log healthz\nexclude level ^debug$",
            _fields("log"),
            lambda body: "healthz" not in body["log"] and body["level"] != "debug",
        ),
        Case(
            "nested key",
            "regex $kubernetes['labels']['app.kubernetes.io/name'] ^web$",
            _fields("kubernetes"),
            batches=pod_batches,
        ),
    ],
    "lua": [
        Case("sets a field", f"call f\ncode {_SET}", _fields("cluster", "log")),
        Case("drops", f"call f\ncode {_DROP}", _fields("log"), lambda body: body["level"] != "debug"),
    ],
    "modify": [
        Case("Add and Rename", "add cluster one\nrename log message", _fields("cluster", "message", without="log")),
        Case(
            "with a condition",
            "condition Key_value_equals level error\nset severity high",
            lambda body: ("severity" in body) == _is_error(body),
        ),
        Case("Remove_regex", "remove_regex ^(_p|trace_.*)$", _fields("log", without="trace_id")),
    ],
    "multiline": [
        Case("without traces", "multiline.parser java\nmultiline.key_content log", _fields("level")),
        Case(
            "with traces",
            "multiline.parser java\nmultiline.key_content log",
            _fields("level"),
            _begins_message,
            _with_traces,
        ),
    ],
    "nest": [
        Case(
            "lift",
            "operation lift\nnested_under kubernetes\nadd_prefix pod_",
            _fields("pod_host", without="kubernetes"),
            batches=pod_batches,
        ),
        Case(
            "lift what kubernetes adds",
            "operation lift\nnested_under kubernetes\nadd_prefix pod_",
            _fields("pod_host", without="kubernetes"),
            batches=encoded_pod_batches,
        ),
        Case(
            "nest",
            "operation nest\nwildcard status\nwildcard latency*\nnest_under http",
            lambda body: body["http"].keys() == {"status", "latency_ms"},
        ),
    ],
    "parser": [
        _parsed("json", msgspec.json.encode(_FIELDS).decode(), *_FIELDS),
        _parsed("access", _ACCESS_LOG, "host", "user", "method", "code"),
        _parsed("logfmt", 'user=u-1 took_ms=12 path=/api/v1/orders msg="no stock"', *_FIELDS, "msg"),
        _parsed("ltsv", "user:u-1\ttook_ms:12\tpath:/api/v1/orders", *_FIELDS),
    ],
    "record_modifier": [
        Case("Record and Remove_key", "record cluster one\nremove_key _p", _fields("cluster", without="_p")),
        Case("Allowlist_key", "allowlist_key log\nallowlist_key level", lambda body: body.keys() == {"log", "level"}),
    ],
    "rewrite_tag": [Case("", "rule $level ^error$ errors.$TAG[1] false", _is_error, _is_error, moves=True)],
    "sysinfo": [Case("", "hostname_key host\nkernel_version_key kernel", _fields("host", "kernel"))],
    "throttle": [Case("", "rate 1000000000\nwindow 5\ninterval 1s", _fields("log"))],
    "type_converter": [
        Case("", "int_key status code string\nfloat_key latency_ms ms string", lambda body: body["code"].isdigit())
    ],
}
ELSEWHERE: Mapping[str, str] = {
    "aws": "test_aws, which has a metadata service for it",
    "ecs": "test_ecs, which has an agent for it",
    "kubernetes": "the module kubernetes, which makes a file with a pod for it",
    "log_to_metrics": "test_log_to_metrics, which looks at the metrics",
    "stdout": "test_stdout, which gives it a stream that leads nowhere",
}

_CASES = [
    pytest.param(name, case, id=f"{name}, {case.about}" if case.about else name)
    for name, cases in FILTERS.items()
    for case in cases
]


def _filter_of(name: str, lines: str) -> Filter:
    plugin: Any = find_plugin("filter", name)
    parsers = build_parsers([section_of(text, "parser") for text in _PARSERS], [], lambda warning: None)
    made = plugin(options_from(plugin.Options, lines), _context(ParserLibrary(parsers, built_in_definitions())))
    assert isinstance(made, Filter)
    return made


def _context(parsers: ParserLibrary | None = None) -> Context:
    return context_of("filter", "measured.0", parsers=parsers or ParserLibrary())


def _passed(one: Filter, batches: list[RecordBatch]) -> list[RecordBatch]:
    """What comes out of a filter for the batches, at once or later."""
    out = [left for batch in batches if (left := one.apply(batch)) is not None]
    if isinstance(one, HoldingFilter):
        out += one.handed_out("")
        one.release("", None)
        out += one.handed_out("")
    return out


@pytest.mark.parametrize(("name", "case"), _CASES)
def test_filter(stage: Stage, name: str, case: Case) -> None:
    one = _filter_of(name, case.lines)
    stage.wait(one.open())
    expected = sum(case.goes_on(record.body) for batch in case.batches() for record in batch)

    out = stage.measure_fresh(case.batches, lambda batches: _passed(one, batches), records=RECORDS)

    found = [batch for batch in out if (batch.tag != TAG) == case.moves]
    assert count(found) == expected > 0
    assert count(out) == (RECORDS if case.moves else expected)
    assert all(case.holds(record.body) for batch in found for record in batch)
    stage.wait(one.close())


@pytest.mark.parametrize(
    "lines",
    ["metric_mode counter\nlabel_field level", "metric_mode histogram\nvalue_field latency_ms"],
    ids=["counter", "histogram"],
)
def test_log_to_metrics(stage: Stage, lines: str) -> None:
    context = _context()
    options = options_from(LogToMetricsOptions, f"tag m\nmetric_description Records\nmetric_name records\n{lines}")
    one = LogToMetricsFilter(options, context)

    out = stage.measure_fresh(record_batches, lambda batches: _passed(one, batches), records=RECORDS)

    assert count(out) == RECORDS
    assert context.metrics.named_families()


def _metadata(got: Got) -> Says:
    """The metadata service of EC2 as far as the filter asks it by default."""
    if got.method == "PUT":
        return Says(200, b"token")
    return Says(200, b"us-east-1a" if "availability-zone" in got.target else b"i-0e66fc7f9809d7168")


async def _told(one: Filter) -> None:
    """Let the filter ask what it has to know."""
    await one.open()
    await one.prepare(record_batches()[0])


def test_aws(stage: Stage) -> None:
    async def made() -> AwsFilter:
        async with http_server(_metadata) as server:
            variables = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{server.port}"}
            one = AwsFilter(options_from(AwsOptions, ""), _context(), variables)
            await _told(one)
            return one

    one = stage.wait(made())

    out = stage.measure_fresh(record_batches, lambda batches: _passed(one, batches), records=RECORDS)

    assert count(out) == RECORDS
    assert all(_fields("az", "ec2_instance_id")(record.body) for batch in out for record in batch)
    stage.wait(one.close())


def test_ecs(stage: Stage) -> None:
    instance = "arn:aws:ecs:eu-west-1:1:container-instance/one/1f73d099"
    cluster = {"Cluster": "one", "ContainerInstanceArn": instance, "Version": "1.30.0"}

    async def made() -> EcsFilter:
        async with http_server(lambda got: Says(200, msgspec.json.encode(cluster))) as server:
            lines = f"ecs_meta_port {server.port}\necs_tag_prefix none.\nadd cluster $ClusterName"
            one = EcsFilter(options_from(EcsOptions, lines), _context())
            await _told(one)
            return one

    one = stage.wait(made())

    out = stage.measure_fresh(record_batches, lambda batches: _passed(one, batches), records=RECORDS)

    assert count(out) == RECORDS
    assert all(record.body["cluster"] == "one" for batch in out for record in batch)
    stage.wait(one.close())


class _Nowhere(io.RawIOBase):
    """Knows how many lines went into it last."""

    lines = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.lines += bytes(data).count(b"\n")
        return len(data)


def test_stdout(stage: Stage) -> None:
    stream = _Nowhere()
    one = StdoutFilter(options_from(StdoutOptions, ""), _context(), io.TextIOWrapper(io.BufferedWriter(stream)))

    out = stage.measure_fresh(record_batches, lambda batches: _passed(one, batches), records=RECORDS)

    assert count(out) == RECORDS
    assert stream.lines > 0
    assert stream.lines % RECORDS == 0
