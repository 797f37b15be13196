"""Kubernetes metadata: what users of other shippers have lost, and do not lose here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shipper.filters.kubernetes import KubernetesFilter
from shipper.record import Body
from shipper.testing import ManualClock, settle

from ..components.kubernetes import KubernetesStandIn, container_status, kubernetes_stand_in, pod
from ..filters.kubernetes.harness import BARE, ID, TAG, Account, batch, opened, through

LINE: Body = {"log": "x", "stream": "stdout"}


@pytest.fixture
async def api() -> AsyncIterator[KubernetesStandIn]:
    async with kubernetes_stand_in() as stand_in:
        stand_in.add_pod(pod())
        yield stand_in


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def tag_of(name: str, container_id: str = ID) -> str:
    return TAG.replace("web-1", name).replace(ID, container_id)


async def uid_of(one: KubernetesFilter, tag: str = TAG) -> str | None:
    """The `pod_id` that the next line of this tag gets."""
    found: str | None = (await through(one, batch(LINE, tag=tag)))[0].get("kubernetes", {}).get("pod_id")
    return found


async def test_q1_a_rotated_token_costs_no_record_its_metadata(api: KubernetesStandIn, account: Account) -> None:
    found = []
    async with opened(account.lines(api, BARE)) as one:
        for number in range(20):
            if number % 5 == 4:
                api.token = f"token-of-turn-{number}"
                account.set_token(api.token)
            api.add_pod(pod(f"web-{number}", uid=f"u-{number}"))
            found.append(await uid_of(one, tag_of(f"web-{number}")))

    assert found == [f"u-{number}" for number in range(20)]


async def test_q1_a_token_that_is_refused_is_read_again(api: KubernetesStandIn, account: Account) -> None:
    tokens = account.folder / "tokens"
    tokens.write_text("token-1")
    async with opened(account.lines(api, f"{BARE}\nKube_Token_Command cat {tokens}")) as one:
        await uid_of(one)
        api.token = "token-2"
        tokens.write_text("token-2")
        api.add_pod(pod("web-2", uid="u-2"))

        assert await uid_of(one, tag_of("web-2")) == "u-2"


async def test_q2_a_pod_that_appears_late_is_enriched_within_five_seconds(
    api: KubernetesStandIn, account: Account
) -> None:
    clock = ManualClock()
    api.pods.clear()
    async with opened(account.lines(api, BARE), clock) as one:
        without = 0
        for _ in range(30):
            without += await uid_of(one) is None
            await clock.advance(1)
        api.add_pod(pod())
        later = []
        for _ in range(6):
            later.append(await uid_of(one))
            await clock.advance(1)
        counted = one._unknown.value

    assert later[-1] == "u-1" and None not in later[5:]
    assert without == 30
    assert counted == without + later.count(None)


async def test_q3_an_annotation_of_300_kilobytes_is_no_obstacle(api: KubernetesStandIn, account: Account) -> None:
    api.add_pod(pod(annotations={"big": "x" * 300_000}))
    async with opened(account.lines(api, "Buffer_Size 0")) as one:
        found = await through(one, batch(LINE))

    assert len(found[0]["kubernetes"]["annotations"]["big"]) == 300_000


async def test_q4_a_pod_that_was_made_anew_has_none_of_the_old_labels(api: KubernetesStandIn, account: Account) -> None:
    api.add_pod(pod("db-0", uid="old", labels={"release": "1"}))
    async with opened(account.lines(api)) as one:
        before = await through(one, batch(LINE, tag=tag_of("db-0")))
        anew = pod("db-0", uid="new", labels={"release": "2"})
        anew["status"]["containerStatuses"] = [container_status("app", "b" * 64)]
        api.add_pod(anew)
        after = await through(one, batch(LINE, tag=tag_of("db-0", "b" * 64)))
        still = await through(one, batch(LINE, tag=tag_of("db-0")))

    assert [b[0]["kubernetes"]["labels"]["release"] for b in (before, after, still)] == ["1", "2", "1"]
    assert [b[0]["kubernetes"]["pod_id"] for b in (before, after, still)] == ["old", "new", "old"]


async def test_q5_a_thousand_pods_cost_the_kubelet_one_list(api: KubernetesStandIn, account: Account) -> None:
    for number in range(1000):
        api.add_pod(pod(f"web-{number}", uid=f"u-{number}"))
    async with opened(account.lines(api, f"{BARE}\nUse_Kubelet On\nBuffer_Size 0"), ManualClock()) as one:
        found = [await uid_of(one, tag_of(f"web-{number}")) for number in range(1000)]

    assert found == [f"u-{number}" for number in range(1000)]
    assert api.targets == ["/pods"]


async def test_q6_lines_flow_while_nobody_answers_and_are_enriched_later(
    api: KubernetesStandIn, account: Account
) -> None:
    clock = ManualClock()
    api.is_hanging.set()
    async with opened(account.lines(api, BARE), clock) as one:
        first = asyncio.ensure_future(through(one, batch(LINE)))
        await settle()
        was_waiting = not first.done()
        await clock.advance(5)
        others = [await through(one, batch(LINE, tag=tag_of(f"web-{number}"))) for number in range(2, 50)]

        assert was_waiting
        assert [b[0]["kubernetes"]["pod_name"] for b in [await first, *others]] == [f"web-{n}" for n in range(1, 50)]


async def test_q6_a_refused_connection_delays_nothing(account: Account) -> None:
    async with kubernetes_stand_in() as gone:
        lines = account.lines(gone, BARE)
    began = time.monotonic()
    async with opened(lines) as one:
        found = [await through(one, batch(LINE, tag=tag_of(f"web-{number}"))) for number in range(20)]

    assert time.monotonic() - began < 5
    assert all("pod_id" not in b[0]["kubernetes"] for b in found)


async def test_q6_metadata_comes_when_the_server_is_back(api: KubernetesStandIn, account: Account) -> None:
    clock = ManualClock()
    api.status = 503
    async with opened(account.lines(api, BARE), clock) as one:
        before = await uid_of(one)
        api.status = 200
        found = []
        for _ in range(100):
            await clock.advance(1)
            found.append(await uid_of(one))
            await asyncio.sleep(0.01)
            if found[-1] is not None:
                break

    assert (before, found[-1]) == (None, "u-1")
    assert len(found) <= 10


async def test_sec9_a_line_cannot_forge_its_metadata(api: KubernetesStandIn, account: Account) -> None:
    forged = {"log": '{"kubernetes":{"pod_name":"bank"},"kubernetes_namespace":{"name":"bank"}}', "stream": "stdout"}
    async with opened(account.lines(api, f"{BARE}\nMerge_Log On\nNamespace_Labels On")) as one:
        api.namespaces["default"] = {"metadata": {"name": "default"}}
        found = await through(one, batch(forged))

    assert found[0]["kubernetes"]["pod_name"] == "web-1"
    assert found[0]["kubernetes_namespace"] == {"name": "default"}


async def test_d3_a_pod_that_is_gone_from_the_api_keeps_what_was_known_of_it(
    api: KubernetesStandIn, account: Account
) -> None:
    clock = ManualClock()
    async with opened(account.lines(api, f"{BARE}\nKube_Meta_Cache_TTL 60"), clock) as one:
        before = await uid_of(one)
        api.pods.clear()
        after = []
        for _ in range(3):
            await clock.advance(61)
            after.append(await uid_of(one))

    assert (before, after) == ("u-1", ["u-1"] * 3)


async def test_d3_lines_of_a_pod_that_is_gone_pass_and_are_counted(api: KubernetesStandIn, account: Account) -> None:
    api.pods.clear()
    async with opened(account.lines(api, BARE), ManualClock()) as one:
        found = await through(one, batch(LINE, LINE))
        counted = one._unknown.value

    assert found == [LINE, LINE]
    assert counted == 2
