"""The parsers of config/parsers.conf, on lines of the programs they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.environment import Environment
from shipper.config.load import load_parsers
from shipper.config.model import Configuration
from shipper.errors import Problem
from shipper.parsers.base import Parser
from shipper.parsers.library import build_parsers
from shipper.parsers.onigmo import Regex
from shipper.parsers.record_time import RecordTime
from shipper.parsers.regex import RegexParser
from shipper.parsers.time_format import TimeFormat
from shipper.record import Body

NOW_NS = 1795176000 * 10**9  # 2026-11-20 12:00 UTC
NS = 10**9


@pytest.fixture(scope="module")
def stock() -> dict[str, Parser]:
    problems: list[Problem] = []
    warnings: list[str] = []
    configuration = Configuration()
    path = Path(__file__).parents[2] / "config" / "parsers.conf"
    load_parsers(configuration, Environment({}), problems, [str(path)])
    parsers = build_parsers(configuration.parsers, problems, warnings.append, lambda: NOW_NS)
    assert (problems, warnings) == ([], [])
    return parsers


def test_every_stock_parser_is_there(stock: dict[str, Parser]) -> None:
    assert list(stock) == [
        *("apache", "apache2", "apache_error", "nginx", "k8s-nginx-ingress", "json", "logfmt", "docker"),
        *("docker-daemon", "syslog-rfc5424", "syslog-rfc3164-local", "syslog-rfc3164", "mongodb", "envoy"),
        *("istio-envoy-proxy", "cri", "kube-custom", "kmsg-netfilter-log"),
    ]


APACHE_LINE = '192.168.2.20 - - [28/Jul/2006:10:27:10 -0300] "GET /cgi-bin/try/ HTTP/1.0" 200 3395'
APACHE_BODY = {
    "host": "192.168.2.20", "user": "-", "method": "GET", "path": "/cgi-bin/try/", "code": "200", "size": "3395",
}  # fmt: skip
NGINX_LINE = (
    '10.1.2.3 - joe [01/May/2024:10:00:01 +0000] "POST /api?x=1 HTTP/2.0" 502 157 "https://ex.org/" "M (X)" "-"'
)
NGINX_BODY = {
    "remote": "10.1.2.3", "host": "-", "user": "joe", "method": "POST", "path": "/api?x=1", "code": "502",
    "size": "157", "referer": "https://ex.org/", "agent": "M (X)",
}  # fmt: skip
INGRESS_LINE = (
    '10.0.0.1 - - [01/May/2024:10:00:01 +0000] "GET / HTTP/1.1" 200 612 "-" "curl" 75 0.001 [shop-web-80] [] '
    "10.244.0.7:80 612 0.001 200 8e4c"
)
INGRESS_BODY = {
    "host": "10.0.0.1", "user": "-", "method": "GET", "path": "/", "code": "200", "size": "612", "referer": "-",
    "agent": "curl", "request_length": "75", "request_time": "0.001", "proxy_upstream_name": "shop-web-80",
    "upstream_addr": "10.244.0.7:80", "upstream_response_length": "612", "upstream_response_time": "0.001",
    "upstream_status": "200", "reg_id": "8e4c",
}  # fmt: skip
MONGODB_LINE = "2024-05-01T10:00:00.123+0000 I COMMAND  [conn7] command shop.carts find 12ms"
MONGODB_BODY = {
    "time": "2024-05-01T10:00:00.123+0000", "severity": "I", "component": "COMMAND", "context": "conn7",
    "message": "command shop.carts find", "ms": "12",
}  # fmt: skip
RFC5424_LINE = "<34>1 2024-05-01T10:00:00.003Z my.example su 8710 ID47 - 'su root' failed"
RFC5424_BODY = {
    "pri": "34", "time": "2024-05-01T10:00:00.003Z", "host": "my.example", "ident": "su", "pid": "8710",
    "msgid": "ID47", "extradata": "-", "message": "'su root' failed",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "line", "time_ns", "body"),
    [
        ("apache2", APACHE_LINE, 1154093230 * NS, APACHE_BODY),
        ("apache", APACHE_LINE, 1154093230 * NS, APACHE_BODY),
        (
            "apache_error",
            "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187] no file",
            None,
            {
                "time": "Sep 09 10:42:29.902022 2011", "level": "core:error", "pid": "35708:tid 4328636416",
                "client": "72.15.99.187", "message": "no file",
            },
        ),
        ("nginx", NGINX_LINE, 1714557601 * NS, NGINX_BODY),
        ("k8s-nginx-ingress", INGRESS_LINE, 1714557601 * NS, INGRESS_BODY),
        ("json", '{"time":"01/May/2024:10:00:01 +0000","a":1}', 1714557601 * NS, {"a": 1}),
        ("logfmt", "time=now level=info", None, {"time": "now", "level": "info"}),
        (
            "docker",
            '{"log":"x\\n","time":"2024-05-01T10:00:00.123456789Z"}',
            1714557600_123456789,
            {"log": "x\n", "time": "2024-05-01T10:00:00.123456789Z"},
        ),
        (
            "docker-daemon",
            'time="2024-05-01T10:00:00.5Z" level=error msg="Handler \\"x\\" failed" error="gone"',
            1714557600_500000000,
            {"time": "2024-05-01T10:00:00.5Z", "level": "error", "msg": 'Handler \\"x\\" failed" error="gone'},
        ),
        ("syslog-rfc5424", RFC5424_LINE, 1714557600_003000000, RFC5424_BODY),
        (
            "syslog-rfc3164-local",
            "<13>Feb  6 04:06:58 myapp[7]: hello",
            1770350818 * NS,
            {"pri": "13", "time": "Feb  6 04:06:58", "ident": "myapp", "pid": "7", "message": "hello"},
        ),
        (
            "syslog-rfc3164",
            "<34>Feb  6 04:06:58 mymachine su[230]: 'su root' failed",
            1770350818 * NS,
            {
                "pri": "34", "time": "Feb  6 04:06:58", "host": "mymachine", "ident": "su", "pid": "230",
                "message": "'su root' failed",
            },
        ),
        ("mongodb", MONGODB_LINE, 1714557600_123000000, MONGODB_BODY),
        (
            "cri",
            "2024-05-01T10:00:00.123456789+02:00 stdout F hello",
            1714550400_123456789,
            {"time": "2024-05-01T10:00:00.123456789+02:00", "stream": "stdout", "logtag": "F", "message": "hello"},
        ),
        (
            "kube-custom",
            "kube.web-7d9f_shop_nginx-" + "0123456789abcdef" * 4 + ".log",
            None,
            {
                "tag": "kube", "pod_name": "web-7d9f", "namespace_name": "shop", "container_name": "nginx",
                "docker_id": "0123456789abcdef" * 4,
            },
        ),
    ],
)  # fmt: skip
def test_a_stock_parser_reads_its_lines(
    stock: dict[str, Parser], name: str, line: str, time_ns: int | None, body: Body
) -> None:
    found = stock[name].parse(line)

    assert found == (time_ns, body)
    assert list(found[1]) == list(body)


@pytest.mark.parametrize("name", ["envoy", "istio-envoy-proxy"])
def test_proxies_log_their_start_time(stock: dict[str, Parser], name: str) -> None:
    line = '[2024-05-01T10:00:00.5Z] "GET /status/418 HTTP/1.1" 418 - '
    line += 'via_upstream - "-" ' if name == "istio-envoy-proxy" else ""
    line += '0 135 4 3 "-" "curl/7.73.0" "8496" "httpbin:8000" "127.0.0.1:80"'
    line += " inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 out default" if name != "envoy" else ""

    found = stock[name].parse(line)

    assert found is not None
    assert found[0] == 1714557600_500000000
    assert {"start_time", "method", "upstream_host"} <= set(found[1])


def test_a_packet_that_the_firewall_logged_is_read(stock: dict[str, Parser]) -> None:
    found = stock["kmsg-netfilter-log"].parse(
        "<4>1 2024-05-01T10:00:00.5+00:00 fw kernel - - - [123.456] DROP: IN=eth0 OUT= "
        "MAC=aa:bb:cc:dd:ee:ff:11:22:33:44:55:66:08:00 SRC=10.0.0.1 DST=10.0.0.2 LEN=60 TOS=0x00 PREC=0x00 TTL=64 "
        "ID=54321 DF PROTO=TCP SPT=1234 DPT=80 WINDOW=1024 RES=0x00 SYN URGP=0"
    )

    assert found is not None
    assert found[0] == 1714557600_500000000
    assert {found[1][k] for k in ("logprefix", "ethtype", "proto", "dport", "flag")} == {
        *("DROP:", "08:00", "TCP", "80", "SYN")
    }


SYSLOG = (
    r"^(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<host>[^ ]*) (?<ident>[a-zA-Z0-9_\/\.\-]*)"
    r"(?:\[(?<pid>[0-9]+)\])?(?:[^\:]*\:)? *(?<message>.*)$"
)
CWAGENT = (
    r'(?<log>(?<="log":")\d{4}[\/-]\d{1,2}[\/-]\d{1,2}[ T]\d{2}:\d{2}:\d{2}(?!\.).*?)(?<!\\)".*'
    r'(?<stream>(?<="stream":").*?)".*(?<time>\d{4}-\d{1,2}-\d{1,2}T\d{2}:\d{2}:\d{2}\.\w*).*(?=})'
)
CONTAINER = (
    r'(?<log>(?<="log":")\S(?!\.).*?)(?<!\\)".*(?<stream>(?<="stream":").*?)"'
    r".*(?<time>\d{4}-\d{1,2}-\d{1,2}T\d{2}:\d{2}:\d{2}\.\w*).*(?=})"
)


def test_look_arounds_inside_of_named_groups_work() -> None:
    record_time = RecordTime(TimeFormat("%Y-%m-%dT%H:%M:%S.%LZ"))
    parser = RegexParser("container_firstline", Regex.parse(CONTAINER), time=record_time)

    found = parser.parse(r'{"log":"ERROR \"boom\"\n","stream":"stderr","time":"2024-05-01T10:00:00.123456789Z"}')

    assert found == (1714557600_123456789, {"log": r"ERROR \"boom\"\n", "stream": "stderr"})


def test_the_lines_of_an_agent_are_known_by_their_date() -> None:
    record_time = RecordTime(TimeFormat("%Y-%m-%dT%H:%M:%S.%LZ"))
    parser = RegexParser("cwagent_firstline", Regex.parse(CWAGENT), time=record_time)
    rest = '"stream":"stderr","time":"2024-05-01T10:00:00.5Z"}'

    first = parser.parse(f'{{"log":"2024/05/01 10:00:00 I! started\\n",{rest}')
    other = parser.parse(f'{{"log":"  and more\\n",{rest}')

    assert first == (1714557600_500000000, {"log": "2024/05/01 10:00:00 I! started\\n", "stream": "stderr"})
    assert other is None


def test_the_syslog_of_a_host_is_read() -> None:
    record_time = RecordTime(TimeFormat("%b %d %H:%M:%S", now=lambda: NOW_NS))
    parser = RegexParser("syslog", Regex.parse(SYSLOG), time=record_time)

    found = parser.parse("Feb  6 04:06:58 ip-10-0-0-1 kubelet[77]: it works")

    body = {"host": "ip-10-0-0-1", "ident": "kubelet", "pid": "77", "message": "it works"}
    assert found == (1770350818 * NS, body)


ID = "0123456789abcdef" * 4
KUBE_TAG = Regex.parse(
    r"(?<tag>[^.]+)?\.?(?<pod_name>[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)"
    r"_(?<namespace_name>[^_]+)_(?<container_name>.+)-(?<docker_id>[a-z0-9]{64})\.log$"
)
"""As Fluent Bit has it; it takes seconds for a few hundred characters."""
REQUEST = Regex.parse(
    r'^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S*)?)?"'
    r' (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)")?$'
)
MONGODB = Regex.parse(
    r"^(?<time>[^ ]*)\s+(?<severity>\w)\s+(?<component>[^ ]+)\s+\[(?<context>[^\]]+)]\s+"
    r"(?<message>.*?) *(?<ms>(\d+))?(:?ms)?$"
)
PIECES = ["a", "7", " ", "  ", '"', "-", ":", "ms", "]", "[", "/p", "HTTP/1.1"]


def fields_of(regex: Regex, text: str) -> dict[str, str] | None:
    found = regex.search(text)
    return None if found is None else {name: value for name, value in regex.groups(found).items() if value}


def regex_of(parser: Parser) -> Regex:
    assert isinstance(parser, RegexParser)
    return parser.regex


@given(
    st.lists(st.sampled_from(["a", "b-c", "-", ".", "_", "_", "X", "0"]), max_size=14), st.sampled_from(["-", "", "x-"])
)
@settings(deadline=None)
def test_tags_of_containers_are_read_as_by_fluent_bit(stock: dict[str, Parser], parts: list[str], end: str) -> None:
    text = f"{''.join(parts)}{end}{ID}.log"

    assert fields_of(regex_of(stock["kube-custom"]), text) == fields_of(KUBE_TAG, text)


@given(st.lists(st.sampled_from(PIECES), max_size=10))
@settings(deadline=None)
def test_requests_are_read_as_by_fluent_bit(stock: dict[str, Parser], parts: list[str]) -> None:
    text = f'h - u [t] "GET {"".join(parts)}" 200 12 "r" "a"'

    assert fields_of(regex_of(stock["apache"]), text) == fields_of(REQUEST, text)


@given(st.lists(st.sampled_from(PIECES), max_size=10))
@settings(deadline=None)
def test_messages_of_mongodb_are_read_as_by_fluent_bit(stock: dict[str, Parser], parts: list[str]) -> None:
    text = f"t I COMMAND  [c] {''.join(parts)}"

    assert fields_of(regex_of(stock["mongodb"]), text) == fields_of(MONGODB, text)


@pytest.mark.parametrize(
    ("name", "start", "piece", "end"),
    [
        *(("kube-custom", "", piece, "") for piece in ("a", "a.", "-a.", "a_", "a_.", f"a-{ID}")),
        *(("kube-custom", "", piece, f"_-{ID}.log") for piece in ("a", "a.", "-a.", "a_.", "..")),
        ("syslog-rfc3164", "<13>Jan  1 00:00:00 h ", "a", "["),
        *((name, 'h - u [t] "GET ', " ", "") for name in ("apache", "apache2", "nginx", "k8s-nginx-ingress")),
        *((name, 'h - u [t] "GET ', " a", "") for name in ("apache", "apache2", "nginx", "k8s-nginx-ingress")),
        *((name, '[t] "GET ', " ", "") for name in ("envoy", "istio-envoy-proxy")),
        *((name, '[t] "GET ', " a", "") for name in ("envoy", "istio-envoy-proxy")),
        *(("mongodb", "t I\t", piece, "") for piece in ("\t", "\ta")),
        *(("mongodb", "t I c [x] ", piece, "!") for piece in (" ", "7", " 7")),
    ],
)
def test_no_line_takes_a_stock_parser_long(
    stock: dict[str, Parser], name: str, start: str, piece: str, end: str
) -> None:
    """Pods choose parsers for their lines; were there more than a few ways to read one, this would not end."""
    found = stock[name].parse(f"{start}{piece * (200_000 // len(piece))}{end}")

    assert found is None or found[1]
