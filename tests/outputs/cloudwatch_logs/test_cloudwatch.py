"""cloudwatch: names written for the plugin in Go, and what it may create."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shipper.buffers.base import Delivery
from shipper.clock import SystemClock
from shipper.errors import ConfigError
from shipper.outputs.cloudwatch_logs.cloudwatch import CloudwatchOptions, CloudwatchOutput, GoTemplate
from shipper.plugins import find_plugin
from shipper.testing import context_of

from ...components.http_server import Says, http_server
from ...components.scripted_aws import ScriptedAws, error
from ...written_options import options_from
from .making import batch_of

pytestmark = pytest.mark.usefixtures("aws_keys")

TAG = "application.var.log.containers.web_ns_app-id.log"
BODY: dict[str, Any] = {"hostname": "h", "kubernetes": {"namespace_name": "n", "x": [1]}, "n": 5, "none": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(tag[4])", "web_ns_app-id"),
        ("$(tag[2]).$(tag[3])-$(hostname)", "log.containers-h"),
        ("$(tag)-$(hostname)", f"{TAG}-h"),
        ("/x/$(kubernetes['namespace_name'])/$(n)", "/x/n/5"),
        ("plain", "plain"),
        ("$(tag[9])", None),
        ("$(host)", None),
        ("$(kubernetes['pod'])", None),
        ("$(kubernetes['x'])", None),
        ("$(none)", None),
        ("$(ecs_cluster)", None),
    ],
)
def test_a_name_is_filled_in_from_tag_and_record(text: str, expected: str | None) -> None:
    assert GoTemplate.parse(text).render_strict(TAG, BODY) == expected


def test_a_uuid_is_the_same_for_all_records() -> None:
    template = GoTemplate.parse("$(uuid)")

    assert template.render_strict("a", {}) == template.render_strict("b", BODY)
    assert len(template.render_strict("a", {}) or "") == 36


@asynccontextmanager
async def output_to(url: str, lines: str) -> AsyncIterator[CloudwatchOutput]:
    text = f"region us-east-1\nendpoint {url}\n{lines}"
    output = CloudwatchOutput(
        options_from(CloudwatchOptions, text, "output"), context_of("output", clock=SystemClock())
    )
    await output.open()
    try:
        yield output
    finally:
        await output.close()


async def streams(aws: ScriptedAws, lines: str, *bodies: dict[str, Any]) -> list[tuple[str, str]]:
    """Group and stream of each request that a delivery makes."""
    async with output_to(aws.url, lines) as output:
        await output.send(Delivery("", [batch_of(*bodies, tag=TAG)]))
    return [(call.json["logGroupName"], call.json["logStreamName"]) for call in aws.calls()]


async def test_records_without_a_field_go_to_the_default_names(scripted_aws: ScriptedAws) -> None:
    lines = "log_group_name /g/$(team)\nlog_stream_name $(tag[4])-$(hostname)"
    found = await streams(scripted_aws, lines, {"team": "a", "hostname": "h"}, {"x": 1})

    assert sorted(found) == [("/g/a", "web_ns_app-id-h"), ("fluentbit-default", "/fluentbit-default")]


async def test_the_default_names_may_be_chosen(scripted_aws: ScriptedAws) -> None:
    lines = "log_group_name $(a)\nlog_stream_name $(b)\ndefault_log_group_name /dg\ndefault_log_stream_name ds"

    assert await streams(scripted_aws, lines, {"x": 1}) == [("/dg", "ds")]


async def test_plain_names_mean_what_they_mean_to_cloudwatch_logs(scripted_aws: ScriptedAws) -> None:
    assert await streams(scripted_aws, "log_group_name /g\nlog_stream_prefix p-", {"x": 1}) == [("/g", f"p-{TAG}")]


async def test_large_events_may_come_in_parts(scripted_aws: ScriptedAws) -> None:
    lines = "log_group_name /g\nlog_stream_name s\nlog_key x\non_oversize split"
    await streams(scripted_aws, lines, {"x": "y" * 1_100_000})

    assert [call.messages[0][:9] for call in scripted_aws.calls()] == ["[part=1/2", "[part=2/2"]


async def test_streams_are_not_created_when_that_is_off(scripted_aws: ScriptedAws) -> None:
    await streams(scripted_aws, "log_group_name /g\nlog_stream_name s\nauto_create_stream false", {"x": 1})

    assert scripted_aws.operations == ["PutLogEvents"]


async def test_created_groups_get_tags(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("CreateLogStream", error("ResourceNotFoundException"))
    lines = "log_group_name /g\nlog_stream_name s\nauto_create_group true\nnew_log_group_tags a=1, b=2"
    await streams(scripted_aws, lines, {"x": 1})

    assert scripted_aws.calls("CreateLogGroup")[0].json == {"logGroupName": "/g", "tags": {"a": "1", "b": "2"}}


async def test_names_hold_the_ecs_task(scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    task = b'{"Cluster":"arn:aws:ecs:r:1:cluster/main","TaskARN":"arn:aws:ecs:r:1:task/main/abc"}'
    async with http_server(lambda got: Says(200, task)) as metadata:
        monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", f"http://127.0.0.1:{metadata.port}/v4/x")
        found = await streams(scripted_aws, "log_group_name $(ecs_cluster)\nlog_stream_name t-$(ecs_task_id)", {"x": 1})

    assert found == [("main", "t-abc")]
    assert metadata.got[0].target == "/v4/x/task"


@pytest.mark.parametrize("uri", ["", "http://127.0.0.1:1/v4"])
async def test_without_ecs_the_default_names_are_used(
    scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", uri)
    found = await streams(scripted_aws, "log_group_name /g\nlog_stream_name $(ecs_task_id)", {"x": 1})

    assert found == [("/g", "/fluentbit-default")]


async def test_credentials_come_from_the_endpoint(scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    keys = b'{"AccessKeyId":"AK1","SecretAccessKey":"s","Token":"t","Expiration":"2999-01-01T00:00:00Z"}'
    async with http_server(lambda got: Says(200, keys)) as endpoint:
        lines = f"log_group_name /g\nlog_stream_name s\ncredentials_endpoint http://127.0.0.1:{endpoint.port}/creds"
        await streams(scripted_aws, lines, {"x": 1})

    assert "Credential=AK1/" in scripted_aws.sent[0].headers["authorization"]


def test_the_name_is_found_in_a_configuration() -> None:
    assert find_plugin("output", "CloudWatch") is CloudwatchOutput


@pytest.mark.parametrize("name", ["$(a[b])", "$()", "$('x')"])
def test_an_element_that_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="log_stream_name"):
        options_from(CloudwatchOptions, f"region r\nlog_group_name g\nlog_stream_name {name}", "output")
