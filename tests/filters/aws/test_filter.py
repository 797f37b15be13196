"""aws: facts of an instance from a stand-in for the metadata service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from shipper.errors import ConfigError
from shipper.filters.aws import AwsFilter, AwsOptions
from shipper.record import Body, Record, RecordBatch
from shipper.testing import ManualClock, context_of

from ...components.http_server import Got, HttpServer, Says, http_server, seconds_with_slow_answers
from ...written_options import options_from

META = "/latest/meta-data"
ANSWERS = {
    f"{META}/placement/availability-zone/": "us-east-1a",
    f"{META}/instance-id/": "i-0e66fc7f9809d7168",
    f"{META}/instance-type/": "t3.micro",
    f"{META}/local-ipv4/": "10.0.0.1",
    f"{META}/mac/": "00:00:5e:00:53:af",
    f"{META}/network/interfaces/macs/00:00:5e:00:53:af/vpc-id/": "vpc-2928ea42",
    f"{META}/ami-id/": "ami-1",
    f"{META}/hostname/": "ip-10-0-0-1",
    "/latest/dynamic/instance-identity/document/": '{"accountId":"123456789012"}',
    f"{META}/tags/instance": "Name\nCUSTOMER_ID",
    f"{META}/tags/instance/Name": "my_ec2_instance",
    f"{META}/tags/instance/CUSTOMER_ID": "70ec",
}
NONE = "az false\nec2_instance_id false"


class Imds:
    """Answers by path; with tokens only to whoever brings the one of the moment."""

    def __init__(self) -> None:
        self.answers: dict[str, str | int] = dict(ANSWERS)
        self.token = "t-1"
        self.has_tokens = True
        self.server: HttpServer

    def judge(self, got: Got) -> Says:
        if got.target == "/latest/api/token" and got.method == "PUT":
            is_right = got.headers.get("x-aws-ec2-metadata-token-ttl-seconds") == "21600"
            return Says(200, self.token.encode()) if self.has_tokens and is_right else Says(403)
        if self.has_tokens and got.headers.get("x-aws-ec2-metadata-token") != self.token:
            return Says(401)
        answer = self.answers.get(got.target, 404)
        return Says(answer) if isinstance(answer, int) else Says(200, answer.encode())

    def asked(self) -> list[str]:
        return [got.target for got in self.server.got]


@pytest.fixture
async def imds() -> AsyncIterator[Imds]:
    found = Imds()
    async with http_server(found.judge) as server:
        found.server = server
        yield found


def filter_of(lines: str, port: int, clock: ManualClock | None) -> AwsFilter:
    variables = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}"}
    return AwsFilter(options_from(AwsOptions, lines), context_of("filter", "aws.0", clock), variables)


@contextlib.asynccontextmanager
async def opened(lines: str, port: int, clock: ManualClock | None = None) -> AsyncIterator[AwsFilter]:
    one = filter_of(lines, port, clock)
    await one.open()
    try:
        yield one
    finally:
        await one.close()


async def through(one: AwsFilter, body: Body) -> list[tuple[str, object]]:
    batch = RecordBatch("t", [Record(0, dict(body))], 10)
    await one.prepare(batch)
    one.apply(batch)
    return list(batch.records[0].body.items())


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", {"az": "us-east-1a", "ec2_instance_id": "i-0e66fc7f9809d7168"}),
        (f"vpc_id true\n{NONE}", {"vpc_id": "vpc-2928ea42"}),
        (f"tags_enabled true\n{NONE}", {"Name": "my_ec2_instance", "CUSTOMER_ID": "70ec"}),
        (f"tags_enabled true\ntags_include Name,unknown\n{NONE}", {"Name": "my_ec2_instance"}),
        (f"tags_enabled true\ntags_exclude CUSTOMER_ID\n{NONE}", {"Name": "my_ec2_instance"}),
        (
            "hostname on\naccount_id on\nami_id on\nprivate_ip on\nec2_instance_type on\nec2_instance_id off",
            {
                "az": "us-east-1a",
                "ec2_instance_type": "t3.micro",
                "private_ip": "10.0.0.1",
                "ami_id": "ami-1",
                "account_id": "123456789012",
                "hostname": "ip-10-0-0-1",
            },
        ),
        (
            f"enable_entity on\n{NONE}",
            {"aws_entity_ec2_instance_id": "i-0e66fc7f9809d7168", "aws_entity_account_id": "123456789012"},
        ),
    ],
)
@pytest.mark.parametrize("version", ["v1", "V2"])
async def test_what_is_added_in_which_order(imds: Imds, lines: str, expected: Body, version: str) -> None:
    imds.has_tokens = version == "V2"
    async with opened(f"{lines}\nimds_version {version}".strip(), imds.server.port) as one:
        found = await through(one, {"log": "hello"})

    assert found == [("log", "hello"), *expected.items()]


async def test_own_facts_win_over_fields_of_the_record(imds: Imds) -> None:
    async with opened("ec2_instance_id off", imds.server.port) as one:
        assert await through(one, {"az": "forged", "log": "x"}) == [("log", "x"), ("az", "us-east-1a")]


async def test_without_a_metadata_service_records_pass_as_they_are(imds: Imds) -> None:
    imds.server.script = [Says(cut=True)] * 9
    async with opened("", imds.server.port) as one:
        assert await through(one, {"log": "hello"}) == [("log", "hello")]


async def test_an_account_that_is_not_told_is_null(imds: Imds) -> None:
    imds.answers["/latest/dynamic/instance-identity/document/"] = "{}"
    async with opened(f"account_id on\n{NONE}", imds.server.port) as one:
        assert await through(one, {}) == [("account_id", "NULL")]


async def test_tags_that_are_not_shown_are_not_asked_for_again(imds: Imds) -> None:
    imds.answers[f"{META}/tags/instance"] = 404
    clock = ManualClock()
    async with opened(f"tags_enabled on\n{NONE}", imds.server.port, clock) as one:
        await clock.advance(10_000)
        found = await through(one, {"log": "hello"})

    assert found == [("log", "hello")]
    assert imds.asked().count(f"{META}/tags/instance") == 1


@pytest.mark.parametrize("status", [404, 500])
async def test_no_tag_is_added_if_one_cannot_be_had(imds: Imds, status: int) -> None:
    imds.answers[f"{META}/tags/instance/CUSTOMER_ID"] = status
    async with opened(f"tags_enabled on\n{NONE}", imds.server.port) as one:
        assert await through(one, {"log": "hello"}) == [("log", "hello")]


async def test_what_failed_is_asked_for_again_after_the_interval(imds: Imds) -> None:
    imds.answers[f"{META}/instance-id/"] = 500
    clock = ManualClock()
    async with opened("retry_interval_s 60", imds.server.port, clock) as one:
        imds.answers[f"{META}/instance-id/"] = "i-1"
        before = [key for key, _ in await through(one, {})]
        await clock.advance(61)
        after = [key for key, _ in await through(one, {})]

    assert (before, after) == (["az"], ["az", "ec2_instance_id"])
    assert imds.asked().count(f"{META}/placement/availability-zone/") == 1


async def test_a_token_that_is_refused_is_renewed(imds: Imds) -> None:
    imds.answers[f"{META}/instance-id/"] = 500
    clock = ManualClock()
    async with opened("retry_interval_s 60", imds.server.port, clock) as one:
        imds.token, imds.answers[f"{META}/instance-id/"] = "t-2", "i-1"
        await clock.advance(61)

        assert ("ec2_instance_id", "i-1") in await through(one, {})


async def test_a_service_that_answers_slowly_delays_the_start_and_the_lines_for_a_few_seconds_only(imds: Imds) -> None:
    tags = {f"tag-{number}": str(number) for number in range(20)}
    imds.answers = {f"{META}/tags/instance": "\n".join(tags)}
    imds.answers |= {f"{META}/tags/instance/{name}": value for name, value in tags.items()}
    imds.has_tokens = False
    clock = ManualClock()
    one = filter_of(f"tags_enabled on\nimds_version v1\n{NONE}", imds.server.port, clock)

    started_s = await seconds_with_slow_answers(imds.server, clock, one.open())
    first = await through(one, {"log": "first"})
    later = first
    while len(later) == 1:
        await asyncio.sleep(0.001)
        later = await through(one, {"log": "later"})
    await one.close()

    assert started_s <= 6
    assert first == [("log", "first")]
    assert later == [("log", "later"), *tags.items()]


@pytest.mark.parametrize("lines", ["imds_version v3", "tags_enabled on\ntags_include a\ntags_exclude b", "zone on"])
def test_mistakes_are_told(lines: str) -> None:
    with pytest.raises(ConfigError):
        options_from(AwsOptions, lines)
