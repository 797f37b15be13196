"""What the configuration of the output may say, and what it is told when it may not."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from shipper.codecs.template import Template
from shipper.config.model import Property, Section
from shipper.config.options import read_options
from shipper.errors import OptionError, Origin, Problem
from shipper.outputs.aws_options import SwitchOnUnlessOff
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOptions

from .making import batch_of, output_to

ORIGIN = Origin("a.conf", 1)


def options(**values: Any) -> CloudwatchLogsOptions:
    given = {"region": "us-east-1", "log_group_name": "/my/group", "log_stream_name": "s", **values}
    return CloudwatchLogsOptions(**given)


def read(**texts: str) -> tuple[CloudwatchLogsOptions | None, list[str]]:
    """The options as the configuration writes them, and the problems found."""
    problems: list[Problem] = []
    section = Section("output", ORIGIN, [Property(k.replace("__", "."), v, ORIGIN) for k, v in texts.items()])
    found = read_options(CloudwatchLogsOptions, section, "cloudwatch_logs", problems, lambda text: None)
    return found, [p.message for p in problems]


def test_a_full_configuration_is_read() -> None:
    found, problems = read(
        region="us-east-1", log_group_name="/g", log_stream_prefix="p-", log_group_template="/x/$TAG[0]",
        auto_create_group="on", log_retention_days="14", tls__verify="off", retry_limit="5", workers="1",
        extra_user_agent="container-insights", auto_retry_requests="whatever", metric_dimensions="a,b;c",
    )  # fmt: skip

    assert problems == []
    assert found is not None
    assert found.aws_settings().tls.verify is False
    assert found.auto_retry_requests.is_on


def test_created_groups_may_have_tags() -> None:
    given = {"region": "us-east-1", "log_group_name": "/g", "log_stream_name": "s"}
    found, problems = read(**given, new_log_group_tags="team=a, env=b=c")
    _, wrong = read(**given, new_log_group_tags="team")

    assert problems == []
    assert found is not None
    assert found.group_options().tags == {"team": "a", "env": "b=c"}
    assert len(wrong) == 1
    assert "key=value" in wrong[0]


@pytest.mark.parametrize("missing", ["region", "log_group_name"])
def test_required_options(missing: str) -> None:
    given = {"region": "r", "log_group_name": "/g", "log_stream_name": "s"}
    del given[missing]

    assert read(**given) == (None, [f"cloudwatch_logs: option '{missing}' is required"])


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"log_stream_name": None}, "log_stream_name"),
        ({"log_stream_prefix": "p-"}, "log_stream_name"),
        ({"log_stream_name": "a:b"}, "log_stream_name"),
        ({"log_stream_name": "x" * 513}, "log_stream_name"),
        ({"log_group_name": "a b"}, "log_group_name"),
        ({"log_group_name": "x" * 513}, "log_group_name"),
        ({"auto_create_group": True, "log_group_class": "CHEAP"}, "log_group_class"),
        ({"auto_create_group": True, "log_retention_days": 15}, "log_retention_days"),
        ({"endpoint": "ftp://host"}, "endpoint"),
        ({"endpoint": "ho st"}, "endpoint"),
        ({"endpoint": "host:notaport"}, "endpoint"),
        ({"sts_endpoint": "http://"}, "sts_endpoint"),
    ],
)
def test_values_that_cannot_be_used(values: dict[str, Any], option: str) -> None:
    with pytest.raises(OptionError) as caught:
        options(**values)

    assert caught.value.option == option
    assert caught.value.remedy


@pytest.mark.parametrize(
    "values",
    [
        {"log_group_class": "CHEAP"},
        {"log_retention_days": 15},
        {"auto_create_group": True, "log_retention_days": 3653, "log_group_class": "INFREQUENT_ACCESS"},
    ],
)
def test_values_that_are_accepted(values: dict[str, Any]) -> None:
    assert options(**values).log_group_name == "/my/group"


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, None),
        ({"port": 4566}, None),
        ({"endpoint": "host"}, "https://host"),
        ({"endpoint": "host", "port": 8443}, "https://host:8443"),
        ({"endpoint": "host:99", "port": 8443}, "https://host:99"),
        ({"endpoint": "https://host/"}, "https://host"),
        ({"endpoint": "http://host:4566"}, "http://host:4566"),
        ({"endpoint": "host:4566", "tls": False}, "http://host:4566"),
        ({"endpoint": "https://host", "tls": False}, "https://host"),
        ({"endpoint": "::1", "port": 80, "tls": False}, "http://[::1]:80"),
    ],
)
def test_endpoint(values: dict[str, Any], url: str | None) -> None:
    assert options(**values).aws_settings().endpoint_url == url


@pytest.mark.parametrize(
    ("values", "expected"),
    [({}, (True, None)), ({"tls_verify": False}, (False, None)), ({"tls_ca_file": "/ca"}, (True, "/ca"))],
)  # fmt: skip
def test_certificates(values: dict[str, Any], expected: tuple[bool, str | None]) -> None:
    tls = options(**values).aws_settings().tls
    assert (tls.verify, tls.ca_file) == expected


def test_a_request_has_a_minute_unless_told_otherwise() -> None:
    assert options().aws_settings().io_timeout == 60
    assert options(io_timeout=5).aws_settings().io_timeout == 5


@pytest.mark.parametrize(("text", "is_on"), [("off", False), ("FALSE", False), ("on", True), ("maybe", True)])
def test_auto_retry_requests_is_on_unless_off(text: str, is_on: bool) -> None:
    assert SwitchOnUnlessOff.parse(text).is_on is is_on


async def test_ca_file_must_exist() -> None:
    with pytest.raises(OptionError, match=r"tls\.ca_file"):
        await output_to("http://host", tls_ca_file="/nowhere/ca.pem").open()


def test_lane_is_the_stream_where_the_tag_decides() -> None:
    output = output_to("http://host", log_stream_prefix="p-", log_stream_template="$TAG[0]")

    assert output.lane(batch_of(tag="a.x")) == output.lane(batch_of(tag="a.y")) != output.lane(batch_of(tag="b.x"))


def test_lane_is_the_tag_where_the_record_decides() -> None:
    output = output_to("http://host", log_stream_prefix="p-", log_stream_template="$pod")

    assert output.lane(batch_of(tag="a.x")) == "a.x"


def test_template_with_an_error_is_told() -> None:
    with pytest.raises(ValueError, match="syntax error"):
        Template.parse("$a['b']-z")


def test_the_aws_library_is_loaded_only_when_an_output_is_opened() -> None:
    code = (
        "import sys; from shipper.outputs.cloudwatch_logs import output;"
        "print([m for m in ('botocore', 'aiobotocore', 'aiohttp') if m in sys.modules])"
    )

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"
