"""grafana-loki: the options of the plugin in Go, translated."""

from __future__ import annotations

from typing import Any

import pytest

from shipper.buffers.base import Delivery
from shipper.errors import ConfigError, OptionError
from shipper.outputs.base import RetryLimit
from shipper.outputs.loki.grafana_loki import GrafanaLokiOptions, GrafanaLokiOutput
from shipper.plugins import find_plugin
from shipper.testing import context_of

from ...components.http_server import Says, http_server
from ...components.loki import Entry, decoded
from ...written_options import options_from
from .making import T0, batch


def output(lines: str) -> GrafanaLokiOutput:
    return GrafanaLokiOutput(options_from(GrafanaLokiOptions, lines or "match *", "output"), context_of("output"))


async def pushed(lines: str, *bodies: dict[str, Any]) -> list[Any]:
    """The streams of the one request that a delivery makes."""
    async with http_server(lambda got: Says(204)) as server:
        made = output(f"url http://127.0.0.1:{server.port}/loki/api/v1/push\n{lines}")
        await made.open()
        await made.send(Delivery("", [batch(*bodies, first_ns=T0)]))
        await made.close()
    [got] = server.got
    return decoded(got.headers, got.raw)


async def test_labels_keys_and_removed_keys_are_translated() -> None:
    lines = 'labels {job="x", env="a\\"b"}\nlabelkeys stream,level\nremovekeys tmp\nlineformat key_value'
    found = await pushed(lines, {"stream": "out", "level": "info", "tmp": 1, "log": "hi there", "n": 1})

    labels = (("env", 'a"b'), ("job", "x"), ("level", "info"), ("stream", "out"))
    assert [(tuple(sorted(names)), entries) for names, entries in found] == [
        (labels, [Entry(T0, 'log="hi there" n=1')])
    ]


async def test_a_single_key_is_sent_alone_unless_that_is_off() -> None:
    [(labels, entries)] = await pushed("", {"log": "text"})
    [(_, whole)] = await pushed("dropsinglekey false", {"log": "text"})

    assert labels == (("job", "fluent-bit"),)
    assert [entry.line for entry in entries] == ["text"]
    assert [entry.line for entry in whole] == ['{"log":"text"}']


def test_the_url_becomes_host_port_path_and_credentials() -> None:
    lines = "url https://u:p%40@loki.example/api/push?x=1\ntenantid t\ntimeout 500ms\nautokuberneteslabels on"
    options = options_from(GrafanaLokiOptions, lines, "output").loki_options()

    assert (options.host, options.port, options.tls, options.uri) == ("loki.example", 443, True, "/api/push?x=1")
    assert (options.http_user, options.http_passwd, options.tenant_id) == ("u", "p@", "t")
    assert (options.io_timeout, options.auto_kubernetes_labels, options.push_format) == (0.5, True, "protobuf")


def test_what_other_parts_of_the_service_decide_is_accepted() -> None:
    lines = "batchwait 1\nbatchsize 10\nminbackoff 1s\nmaxbackoff 5m\nloglevel info\nbuffer true\nbuffertype dque"
    options = options_from(GrafanaLokiOptions, f"{lines}\ndquedir /tmp\ndquesync true\nmaxretries 3", "output")

    assert options.retry_limit == RetryLimit(3)
    assert options.loki_options().retry_limit == RetryLimit(3)


def test_the_name_is_found_in_a_configuration() -> None:
    assert find_plugin("output", "grafana-loki") is GrafanaLokiOutput


@pytest.mark.parametrize("lines", ["labels job=x", 'labels {job="x" y}', "timeout soon", "lineformat xml"])
def test_options_that_cannot_be_used_are_refused(lines: str) -> None:
    with pytest.raises(ConfigError, match=lines.split()[0]):
        options_from(GrafanaLokiOptions, lines, "output")


@pytest.mark.parametrize("url", ["nowhere", "ftp://x/y", "http://x:y/"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(OptionError, match="url"):
        output(f"url {url}")
