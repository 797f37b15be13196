"""ecs: what a stand-in for the ECS agent tells, as fields of the records."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from shipper.errors import ConfigError
from shipper.filters.ecs import EcsFilter, EcsOptions
from shipper.filters.ecs.agent import container_in
from shipper.record import Body, Record, RecordBatch
from shipper.testing import ManualClock, context_of

from ...components.http_server import Got, HttpServer, Says, http_server, seconds_with_slow_answers
from ...written_options import options_from

PREFIX = "ecs.var.lib.docker.containers."
NGINX, SIDECAR = "79c796ed2a7f" + "0" * 52, "1d4b06d3c8e2" + "0" * 52
TAG = f"{PREFIX}{NGINX}.log"
TASK = "e01d58a8-151b-40e8-bc01-22647b9ecfec"
CLUSTER: Body = {
    "Cluster": "cluster_name",
    "ContainerInstanceArn": "arn:aws:ecs:us-west-2:012345678910:container-instance/default/1f73d099",
    "Version": "Amazon ECS Agent - v1.30.0 (02ff320c)",
}
TOLD: Body = {
    "Arn": f"arn:aws:ecs:us-west-2:012345678910:task/default/{TASK}",
    "Family": "nginx",
    "Version": "5",
    "Containers": [
        {"DockerId": NGINX, "DockerName": "ecs-nginx-5-nginx-cccc", "Name": "nginx"},
        {"DockerId": SIDECAR, "DockerName": "ecs-nginx-5-sidecar-dddd", "Name": "sidecar"},
    ],
}


class Agent:
    """Answers by path: with a map as JSON, with text as it is, or with a status."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            "/v1/metadata": CLUSTER,
            f"/v1/tasks?dockerid={NGINX[:12]}": TOLD,
            f"/v1/tasks?dockerid={SIDECAR[:12]}": TOLD,
        }
        self.is_away = False
        self.server: HttpServer

    def judge(self, got: Got) -> Says:
        answer = self.answers.get(got.target, 400)
        if self.is_away:
            return Says(cut=True)
        if isinstance(answer, int):
            return Says(answer)
        return Says(200, answer if isinstance(answer, bytes) else msgspec.json.encode(answer))

    def asked(self, path: str = "") -> int:
        """How often a path that begins so was asked for."""
        return sum(got.target.startswith(path) for got in self.server.got)


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    found = Agent()
    async with http_server(found.judge) as server:
        found.server = server
        yield found


@contextlib.asynccontextmanager
async def opened(agent: Agent, lines: str, clock: ManualClock | None = None) -> AsyncIterator[EcsFilter]:
    port = f"ecs_meta_port {agent.server.port}\necs_tag_prefix {PREFIX}\n"
    one = EcsFilter(options_from(EcsOptions, port + lines), context_of("filter", "ecs.0", clock))
    await one.open()
    try:
        yield one
    finally:
        await one.close()


async def through(one: EcsFilter, body: Body, tag: str = TAG) -> Body:
    batch = RecordBatch(tag, [Record(0, dict(body))], 10)
    await one.prepare(batch)
    left = one.apply(batch)
    assert left is batch
    return batch.records[0].body


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$ClusterName.$TaskID.$ECSContainerName", f"cluster_name.{TASK}.nginx"),
        ("$ContainerInstanceArn", "arn:aws:ecs:us-west-2:012345678910:container-instance/default/1f73d099"),
        ("$ContainerInstanceID", "1f73d099"),
        ("$ECSAgentVersion", "Amazon ECS Agent - v1.30.0 (02ff320c)"),
        ("$TaskARN", f"arn:aws:ecs:us-west-2:012345678910:task/default/{TASK}"),
        ("$TaskDefinitionFamily", "nginx"),
        ("$TaskDefinitionVersion", "5"),
        ("$ContainerID", NGINX),
        ("$DockerContainerName", "ecs-nginx-5-nginx-cccc"),
        ('"in $ClusterName"', "in cluster_name"),
        ("plain", "plain"),
    ],
)
async def test_what_a_template_may_use(agent: Agent, template: str, expected: str) -> None:
    async with opened(agent, f"add resource {template}") as one:
        found = await through(one, {"log": "hello"})

    assert list(found.items()) == [("log", "hello"), ("resource", expected)]


async def test_fields_come_last_in_their_order_and_replace_those_of_the_record(agent: Agent) -> None:
    async with opened(agent, "add b $ClusterName\nadd a $ECSContainerName") as one:
        found = await through(one, {"b": "forged", "log": "x"})

    assert list(found.items()) == [("log", "x"), ("b", "cluster_name"), ("a", "nginx")]


async def test_a_template_that_uses_what_is_not_known_is_left_out(agent: Agent) -> None:
    async with opened(agent, "add x $ClusterName.$Nope\nadd y $ClusterName") as one:
        assert await through(one, {}) == {"y": "cluster_name"}


@pytest.mark.parametrize("tag", [f"other.{NGINX}.log", f"{PREFIX}short.log", f"{PREFIX}UPPERCASE123.log"])
async def test_a_tag_without_a_container_gets_what_is_known_of_the_cluster(agent: Agent, tag: str) -> None:
    async with opened(agent, "add c $ClusterName\nadd t $TaskID") as one:
        assert await through(one, {}, tag) == {"c": "cluster_name"}

    assert agent.asked("/v1/tasks") == 0


async def test_tasks_are_not_asked_for_if_only_the_cluster_is_wanted(agent: Agent) -> None:
    async with opened(agent, "add c $ClusterName\nadd t $TaskID\ncluster_metadata_only on") as one:
        assert await through(one, {}) == {"c": "cluster_name"}

    assert agent.asked("/v1/tasks") == 0


async def test_one_answer_tells_of_all_containers_of_the_task(agent: Agent) -> None:
    async with opened(agent, "add n $ECSContainerName") as one:
        first = await through(one, {})
        second = await through(one, {}, f"{PREFIX}{SIDECAR}.log")
        again = await through(one, {})

    assert (first, second, again) == ({"n": "nginx"}, {"n": "sidecar"}, {"n": "nginx"})
    assert (agent.asked("/v1/metadata"), agent.asked("/v1/tasks")) == (1, 1)


async def test_while_the_cluster_is_not_known_records_pass_and_the_agent_has_its_rest(agent: Agent) -> None:
    agent.is_away = True
    clock = ManualClock()
    async with opened(agent, "add c $ClusterName", clock) as one:
        before = [await through(one, {"log": "x"}) for _ in range(20)]
        asked = agent.asked()
        agent.is_away = False
        await clock.advance(1.1)
        after = await through(one, {"log": "x"})

    assert before == [{"log": "x"}] * 20
    assert asked == 1
    assert after == {"log": "x", "c": "cluster_name"}


async def test_a_task_that_the_agent_does_not_know_is_given_up_after_the_retries(agent: Agent) -> None:
    agent.answers = {"/v1/metadata": CLUSTER}
    clock = ManualClock()
    async with opened(agent, "add c $ClusterName\nadd t $TaskID\nagent_endpoint_retries 2", clock) as one:
        for _ in range(9):
            assert await through(one, {}) == {"c": "cluster_name"}
            await clock.advance(30)

    assert agent.asked("/v1/tasks") == 3


async def test_a_task_that_was_given_up_is_asked_for_again_after_the_time_to_live(agent: Agent) -> None:
    told, agent.answers = agent.answers, {"/v1/metadata": CLUSTER}
    clock = ManualClock()
    async with opened(agent, "add t $TaskID\nagent_endpoint_retries 0\necs_meta_cache_ttl 60", clock) as one:
        before = await through(one, {})
        agent.answers = told
        await clock.advance(30)
        still = await through(one, {})
        await clock.advance(31)
        after = await through(one, {})

    assert (before, still, after) == ({}, {}, {"t": TASK})


async def test_an_agent_that_is_away_for_a_moment_does_not_make_a_task_given_up(agent: Agent) -> None:
    clock = ManualClock()
    async with opened(agent, "add t $TaskID\nagent_endpoint_retries 0", clock) as one:
        agent.is_away = True
        before = [await through(one, {}) for _ in range(5)]
        asked = agent.asked("/v1/tasks")
        agent.is_away = False
        await clock.advance(2)
        after = await through(one, {})

    assert (before, asked, after) == ([{}] * 5, 1, {"t": TASK})


@pytest.mark.parametrize(("pause", "asked"), [(50, 1), (61, 2)])
async def test_a_container_is_forgotten_when_it_was_not_used_for_the_time_to_live(
    agent: Agent, pause: float, asked: int
) -> None:
    clock = ManualClock()
    async with opened(agent, "add t $TaskID\necs_meta_cache_ttl 60", clock) as one:
        await through(one, {})
        await clock.advance(50)
        await through(one, {})
        await clock.advance(pause)

        assert await through(one, {}) == {"t": TASK}
    assert agent.asked("/v1/tasks") == asked


@pytest.mark.parametrize(
    "answer",
    [b"{", b"[]", b"\xff", {**TOLD, "Arn": 5}, {**TOLD, "Containers": "x"}, {**TOLD, "Containers": [1]}, 500],
)
async def test_an_answer_that_tells_nothing_costs_only_the_fields_of_the_task(agent: Agent, answer: Any) -> None:
    agent.answers[f"/v1/tasks?dockerid={NGINX[:12]}"] = answer
    async with opened(agent, "add c $ClusterName\nadd t $TaskID") as one:
        assert await through(one, {}) == {"c": "cluster_name"}


async def test_an_agent_that_answers_slowly_delays_the_lines_of_all_containers_for_a_few_seconds_only(
    agent: Agent,
) -> None:
    ids = [f"{number:012x}" for number in range(16)]
    for one_id in ids:
        told = {**TOLD, "Containers": [{"DockerId": one_id, "DockerName": "d", "Name": f"n-{one_id}"}]}
        agent.answers[f"/v1/tasks?dockerid={one_id}"] = told
    tags = [f"{PREFIX}{one_id}.log" for one_id in ids]
    clock = ManualClock()
    found: list[Body] = []

    async def one_by_one(one: EcsFilter) -> None:
        found.extend([await through(one, {}, tag) for tag in tags])

    async with opened(agent, "add n $ECSContainerName", clock) as one:
        waited_s = await seconds_with_slow_answers(agent.server, clock, one_by_one(one))
        later: list[Body] = []
        while {} in (later or found):
            await asyncio.sleep(0.001)
            later = [await through(one, {}, tag) for tag in tags]

    assert waited_s <= 6
    assert found[0] == {"n": f"n-{ids[0]}"} and found[-1] == {}
    assert (later or found) == [{"n": f"n-{one_id}"} for one_id in ids]
    assert agent.asked("/v1/tasks") == len(ids)


async def test_many_who_wait_for_the_same_ask_once(agent: Agent) -> None:
    async with opened(agent, "add t $TaskID") as one:
        found = await asyncio.gather(*(through(one, {}) for _ in range(5)))

    assert found == [{"t": TASK}] * 5
    assert agent.asked("/v1/tasks") == 1


@pytest.mark.parametrize(
    ("tag", "found"),
    [(TAG, NGINX[:12]), (f"x{TAG}", None), (PREFIX, None), (f"{PREFIX}0123456789a/../secret", None)],
)
def test_the_container_in_a_tag(tag: str, found: str | None) -> None:
    assert container_in(tag, PREFIX) == found


@pytest.mark.parametrize("lines", ["add onlykey", "add k a b", "add k $a$b", "ecs_meta_cache_ttl x", "region us"])
def test_mistakes_are_told(lines: str) -> None:
    with pytest.raises(ConfigError):
        options_from(EcsOptions, lines)
