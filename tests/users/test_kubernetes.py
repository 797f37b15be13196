"""Kubernetes metadata: what users of other shippers have lost, and do not lose here.

Q3: With the default `Buffer_Size` a pod of 40 KB is refused, as vector 24 of the specification of filters demands; that
a pod of any size is enriched holds with `Buffer_Size 0`.
Q5: What the enrichment costs in CPU is measured by `bench/pipelines/tail_kubernetes_cloudwatch_logs`, not here.
Q6: The five minutes of the outage are those of a clock that the test sets forward; it takes a second or two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from shipper.filters.kubernetes import KubernetesFilter
from shipper.filters.kubernetes.listing import LIST_EVERY_S, LISTS_AT_ONCE
from shipper.inputs.tail.cri_block import read_cri_block
from shipper.record import Body, RecordBatch
from shipper.testing import ManualClock, settle

from ..components.kubernetes import KubernetesStandIn, container_status, kubernetes_stand_in, pod
from ..filters.kubernetes.harness import BARE, ID, TAG, Account, batch, opened, through
from .running import Reader, append, cri

T = TypeVar("T")

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


async def test_q1_a_token_that_is_too_old_is_read_again_before_it_is_refused(
    api: KubernetesStandIn, account: Account
) -> None:
    clock, tokens = ManualClock(), account.folder / "tokens"
    tokens.write_text("token-1")
    for number in (2, 3):
        api.add_pod(pod(f"web-{number}", uid=f"u-{number}"))
    async with opened(account.lines(api, f"{BARE}\nKube_Token_Command cat {tokens}\nKube_Token_TTL 30"), clock) as one:
        found = [await uid_of(one)]
        tokens.write_text("token-2")
        await clock.advance(30)
        found.append(await uid_of(one, tag_of("web-2")))
        api.token = "token-2"
        await clock.advance(1)
        found.append(await uid_of(one, tag_of("web-3")))
        tokens_of_requests = [got.headers["authorization"].split()[1] for got in api.server.got]

    assert found == ["u-1", "u-2", "u-3"]
    assert tokens_of_requests == ["token-1", "token-1", "token-2"]


async def test_q2_a_static_pod_is_known_by_the_uid_that_its_kubelet_gave_it(
    api: KubernetesStandIn, account: Account
) -> None:
    clock, hashed = ManualClock(), "0123456789abcdef0123456789abcdef"
    copy = {"kubernetes.io/config.hash": hashed, "kubernetes.io/config.mirror": hashed}
    api.add_pod(pod("web-1", uid="of-the-copy", annotations=copy))
    line = {"MESSAGE": "x", "CONTAINER_NAME": f"k8s_app_web-1_default_{hashed}_0"}
    async with opened(account.lines(api, f"{BARE}\nUse_Journal On"), clock) as one:
        found = []
        for _ in range(10):
            found += await through(one, batch(line))
            await clock.advance(60)

    assert {body["kubernetes"]["pod_id"] for body in found} == {"of-the-copy"}
    assert len(api.targets) == 1


async def test_q2_records_of_the_journal_without_metadata_are_counted_each(
    api: KubernetesStandIn, account: Account
) -> None:
    api.pods.clear()
    line = {"MESSAGE": "x", "CONTAINER_NAME": "k8s_app_web-1_default_u-1_0"}
    async with opened(account.lines(api, f"{BARE}\nUse_Journal On"), ManualClock()) as one:
        found = await through(one, batch(line, line, line))
        counted = one._unknown.value

    assert (found, counted) == ([line] * 3, 3)


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


@pytest.mark.parametrize(("more", "expected"), [("", None), ("Buffer_Size 0", "u-1")])
async def test_q3_a_pod_of_forty_kilobytes_is_refused_by_the_default_limit_alone(
    api: KubernetesStandIn, account: Account, more: str, expected: str | None
) -> None:
    api.add_pod(pod(annotations={"big": "x" * 40_000}))
    async with opened(account.lines(api, f"{BARE}\n{more}".strip())) as one:
        found = await uid_of(one)
        counted = one._unknown.value

    assert found == expected
    assert counted == (expected is None)


async def test_q3_a_pod_that_is_longer_than_the_limit_is_counted_and_told(
    api: KubernetesStandIn, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    api.add_pod(pod(annotations={"big": "x" * 300_000}))
    api.add_pod(pod("web-2", uid="u-2", annotations={"big": "x" * 60_000}))
    async with opened(account.lines(api, f"{BARE}\nBuffer_Size 64K")) as one:
        found = [await uid_of(one), await uid_of(one, tag_of("web-2"))]
        requests, failed = (
            one._context.counter(f"metadata_requests_{name}", server="API server").value
            for name in ("total", "failed_total")
        )

    assert found == [None, "u-2"]
    assert "no metadata of a pod, of=default/web-1" in caplog.text
    assert "set Buffer_Size 0" in caplog.text
    assert (requests, failed, one._unknown.value) == (2, 1, 1)


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


async def while_time_passes(clock: ManualClock, work: Coroutine[Any, Any, T]) -> T:
    """What comes of the work; the clock goes on while it waits, so slowly that answers need not hurry."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait({task}, timeout=0.05)
        if not task.done():
            await clock.advance(0.25)
    return await task


def made_anew(**metadata: Any) -> dict[str, Any]:
    """`db-0` after it was made anew, with a container of another id."""
    anew = pod("db-0", uid="new", **metadata)
    anew["status"]["containerStatuses"] = [container_status("app", "b" * 64)]
    return anew


NAMES_OF_OLD = {"pod_name": "db-0", "namespace_name": "default", "container_name": "app", "docker_id": ID}


@pytest.mark.parametrize("more", ["", "Use_Kubelet On"])
async def test_q4_old_lines_that_are_read_after_a_pod_was_made_anew_have_none_of_the_new_labels(
    api: KubernetesStandIn, account: Account, more: str
) -> None:
    clock = ManualClock()
    api.add_pod(made_anew(labels={"release": "2"}))
    async with opened(account.lines(api, more), clock) as one:
        found = []
        for _ in range(20):
            found += await while_time_passes(clock, through(one, batch(LINE, tag=tag_of("db-0"))))
            found += await while_time_passes(clock, through(one, batch(LINE, tag=tag_of("db-0", "b" * 64))))
            await clock.advance(60)
        counted = one._unknown.value

    assert [body["kubernetes"] for body in found[::2]] == [NAMES_OF_OLD] * 20
    assert {body["kubernetes"]["labels"]["release"] for body in found[1::2]} == {"2"}
    assert counted == 20


async def test_q4_annotations_of_a_pod_that_was_made_anew_do_nothing_to_old_lines(
    api: KubernetesStandIn, account: Account
) -> None:
    clock = ManualClock()
    api.add_pod(made_anew(annotations={"fluentbit.io/exclude_stdout": "true", "fluentbit.io/parser_stderr": "words"}))
    more = "K8S-Logging.Exclude On\nK8S-Logging.Parser On\nMerge_Log On"
    lines = (LINE, {"log": "two words", "stream": "stderr"})
    async with opened(account.lines(api, f"{BARE}\n{more}"), clock) as one:
        old = await while_time_passes(clock, through(one, batch(*lines, tag=tag_of("db-0"))))
        new = await while_time_passes(clock, through(one, batch(*lines, tag=tag_of("db-0", "b" * 64))))

    assert old == [{**line, "kubernetes": NAMES_OF_OLD} for line in lines]
    assert [(body["first"], body["second"]) for body in new] == [("two", "words")]


async def test_q4_what_was_known_of_an_old_pod_stays_when_it_is_asked_for_again(
    api: KubernetesStandIn, account: Account
) -> None:
    clock = ManualClock()
    api.add_pod(pod("db-0", uid="old", labels={"release": "1"}))
    async with opened(account.lines(api, "Kube_Meta_Cache_TTL 60"), clock) as one:
        found = []
        for _ in range(5):
            found += await while_time_passes(clock, through(one, batch(LINE, tag=tag_of("db-0"))))
            api.add_pod(made_anew(labels={"release": "2"}))
            await clock.advance(61)
        asked = len(api.targets)

    assert {body["kubernetes"]["pod_id"] for body in found} == {"old"}
    assert asked > 1


async def test_q4_a_uid_of_the_journal_that_the_pod_does_not_have_is_that_of_another(
    api: KubernetesStandIn, account: Account
) -> None:
    clock, uids = ManualClock(), ("11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000")
    api.add_pod(pod(uid=uids[1], labels={"release": "2"}))
    async with opened(account.lines(api, "Use_Journal On"), clock) as one:
        lines = [{"MESSAGE": "x", "CONTAINER_NAME": f"k8s_app_web-1_default_{uid}_0"} for uid in uids]
        found = [body for line in lines for body in await while_time_passes(clock, through(one, batch(line)))]
        counted = one._unknown.value

    names = {"pod_name": "web-1", "namespace_name": "default", "container_name": "app"}
    assert found[0]["kubernetes"] == names
    assert (found[1]["kubernetes"]["pod_id"], found[1]["kubernetes"]["labels"]) == (uids[1], {"release": "2"})
    assert counted == 1


async def test_q4_a_container_that_the_pod_does_not_tell_of_yet_is_known_soon(
    api: KubernetesStandIn, account: Account
) -> None:
    clock = ManualClock()
    early = pod("db-0", uid="early")
    early["status"]["containerStatuses"] = [{"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}}]
    api.add_pod(early)
    async with opened(account.lines(api, BARE), clock) as one:
        before = await while_time_passes(clock, uid_of(one, tag_of("db-0")))
        api.add_pod(pod("db-0", uid="early"))
        began, found = clock.monotonic(), None
        while found is None and clock.monotonic() < began + 600:
            await clock.advance(1)
            found = await while_time_passes(clock, uid_of(one, tag_of("db-0")))

    assert (before, found) == (None, "early")


@pytest.mark.parametrize(
    "status",
    [
        {"containerID": f"containerd://{'b' * 64}", "lastState": {"terminated": {"containerID": f"containerd://{ID}"}}},
        {"state": {"terminated": {"containerID": f"docker://{ID}", "exitCode": 1}}},
        {"containerID": f"cri-o://{ID}"},
    ],
    ids=["restarted", "ended", "running"],
)
async def test_q4_the_container_before_a_restart_is_one_of_the_pod(
    api: KubernetesStandIn, account: Account, status: Body
) -> None:
    restarted = pod("db-0", uid="same")
    restarted["status"]["containerStatuses"] = [{"name": "app", "image": "app:2", **status}]
    api.add_pod(restarted)
    async with opened(account.lines(api, BARE), ManualClock()) as one:
        assert await uid_of(one, tag_of("db-0")) == "same"


@pytest.mark.parametrize(
    ("name", "beginning", "expected"),
    [("web-7d4b9c-x7k2p", "web-7d4b9c-", "u-1"), ("db-0", "db-", None), ("web-x7k2p", None, None)],
)
async def test_q4_a_name_that_the_server_has_made_up_is_that_of_one_pod(
    api: KubernetesStandIn, account: Account, name: str, beginning: str | None, expected: str | None
) -> None:
    clock = ManualClock()
    api.add_pod(pod(name, generateName=beginning))
    async with opened(account.lines(api, BARE), clock) as one:
        found = await while_time_passes(clock, uid_of(one, tag_of(name, "b" * 64)))

    assert found == expected


async def test_q5_a_thousand_pods_that_are_there_cost_the_kubelet_one_list(
    api: KubernetesStandIn, account: Account
) -> None:
    clock = ManualClock()
    for number in range(1000):
        api.add_pod(pod(f"web-{number}", uid=f"u-{number}"))
    async with opened(account.lines(api, f"{BARE}\nUse_Kubelet On\nBuffer_Size 0"), clock) as one:
        found = []
        async with asyncio.timeout(100):
            for number in range(1000):
                found.append(await uid_of(one, tag_of(f"web-{number}")))
                if number % 10 == 0:
                    await clock.advance(0.09)

    assert clock.monotonic() > 8
    assert found == [f"u-{number}" for number in range(1000)]
    assert api.targets == ["/pods"]


async def test_q5_a_burst_of_pods_does_not_become_a_burst_of_lists(api: KubernetesStandIn, account: Account) -> None:
    clock, every_s, names = ManualClock(), 1.1, [f"job-{number}" for number in range(50)]
    async with opened(account.lines(api, f"{BARE}\nUse_Kubelet On\nBuffer_Size 0"), clock) as one:
        lines = []
        for name in names:
            api.add_pod(pod(name, uid=name))
            lines.append(asyncio.ensure_future(uid_of(one, tag_of(name))))
            for _ in range(11):
                await asyncio.sleep(0.001)
                await clock.advance(every_s / 11)
        lists = len(api.targets)
        await clock.advance(5)
        await asyncio.gather(*lines)
        later = await until_known(one, clock, names)

    assert 2 < lists <= LISTS_AT_ONCE + len(names) * every_s / LIST_EVERY_S
    assert later == names


async def until_known(one: KubernetesFilter, clock: ManualClock, names: list[str]) -> list[str | None]:
    """The uids of these pods once all are known, or those of the last attempt."""
    found: list[str | None] = []
    for _ in range(100):
        waiting = [asyncio.ensure_future(uid_of(one, tag_of(name))) for name in names]
        for _ in range(10):
            await asyncio.sleep(0.001)
            await clock.advance(1)
        found = await asyncio.gather(*waiting)
        if None not in found:
            break
    return found


async def test_q5_a_pod_that_the_kubelet_has_lost_costs_a_list_now_and_then(
    api: KubernetesStandIn, account: Account
) -> None:
    clock = ManualClock()
    api.pods.clear()
    async with opened(account.lines(api, f"{BARE}\nUse_Kubelet On"), clock) as one:
        for number in range(600):
            line = asyncio.ensure_future(uid_of(one, tag_of(f"web-{number % 5}")))
            await asyncio.sleep(0.001)
            await clock.advance(0.1)
            await asyncio.sleep(0.001)
            await clock.advance(0.1)
            await clock.advance(0 if line.done() else 5)
            await line

    assert 5 < len(api.targets) <= LISTS_AT_ONCE + clock.monotonic() / LIST_EVERY_S


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


async def test_q6_lines_flow_through_an_outage_of_five_minutes_and_are_enriched_after_it(account: Account) -> None:
    async with kubernetes_stand_in() as gone:
        lines, port = account.lines(gone, BARE), gone.port
    clock, names = ManualClock(), [f"web-{number}" for number in range(20)]
    longest_s, bodies = 0.0, list[Body]()
    async with opened(lines, clock) as one:
        while clock.monotonic() < 300:
            began, name = clock.monotonic(), names[len(bodies) % 20]
            bodies += await while_time_passes(clock, through(one, batch(LINE, tag=tag_of(name))))
            longest_s = max(longest_s, clock.monotonic() - began)
            await clock.advance(1)
        async with kubernetes_stand_in(port) as back:
            for name in names:
                back.add_pod(pod(name, uid=name))
            later = await until_known(one, clock, names)

    assert longest_s <= 10
    assert [body["kubernetes"]["pod_name"] for body in bodies] == [names[n % 20] for n in range(len(bodies))]
    assert len(bodies) > 30
    assert later == names


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


async def test_q6_pods_and_namespaces_are_asked_for_at_the_same_time(api: KubernetesStandIn, account: Account) -> None:
    api.delay_s = 3600
    lines = (
        {"MESSAGE": "x", "CONTAINER_NAME": "k8s_app_web-1_default_u-1_0"},
        {
            "MESSAGE": "x",
            "CONTAINER_NAME": "k8s_app_web-2_other_u-2_0",
        },
    )
    async with opened(account.lines(api, f"{BARE}\nUse_Journal On\nNamespace_Labels On"), ManualClock()) as one:
        waiting = asyncio.ensure_future(one.prepare(batch(*lines)))
        async with asyncio.timeout(20):
            while len(api.targets) < 4:
                await settle()
        was_waiting = not waiting.done()
        waiting.cancel()

    assert was_waiting
    assert sorted(api.targets) == [
        "/api/v1/namespaces/default",
        "/api/v1/namespaces/default/pods/web-1",
        "/api/v1/namespaces/other",
        "/api/v1/namespaces/other/pods/web-2",
    ]


async def test_q6_an_api_server_that_answers_late_delays_the_lines_of_all_pods_by_one_wait(
    api: KubernetesStandIn, account: Account, tmp_path: Path
) -> None:
    names = [f"web-{number}" for number in range(12)]
    for name in names:
        api.add_pod(pod(name, uid=name))
    api.delay_s = 2
    logs = tmp_path / "logs"
    prefix = f"kube.{str(logs).strip('/').replace('/', '.')}."
    options = ["name kubernetes", "match *", f"Kube_Tag_Prefix {prefix}", *account.lines(api, BARE).splitlines()]
    section = "\n".join(["[FILTER]", *(f"    {line}" for line in options), ""])
    with Reader(tmp_path, "tag kube.*\nmultiline.parser cri", filters=section) as reader:
        files = {name: logs / f"{name}_default_app-{ID}.log" for name in names}

        def records(name: str) -> list[Body]:
            return reader.records(f"{prefix}{files[name].name}")

        def are_all_known() -> bool:
            for path in files.values():
                append(path, cri("later"))
            return all(records(name)[-1].get("kubernetes", {}).get("pod_id") == name for name in names)

        for path in files.values():
            append(path, cri("first"))
        reader.start()
        await asyncio.to_thread(reader.until, lambda: bool(api.targets), 60)
        await asyncio.to_thread(reader.until, lambda: all(map(records, names)), 20)
        await asyncio.to_thread(reader.until, are_all_known, 60)
        await asyncio.to_thread(reader.stop)
        first = {name: records(name)[0] for name in names}

    assert {name: body["kubernetes"]["pod_name"] for name, body in first.items()} == {name: name for name in names}


FORGED = '{"kubernetes":{"pod_name":"bank"},"kubernetes_namespace":{"name":"bank"},"level":"info"}'
WITH_NAMESPACE = "Namespace_Labels On"
OF_NAMESPACE: Body = {"kubernetes_namespace": {"name": "default"}}


@pytest.mark.parametrize(
    ("pod_size", "status", "more", "expected"),
    [
        (0, 200, WITH_NAMESPACE, {"pod_name": "web-1", **OF_NAMESPACE}),
        (0, 200, "", {"pod_name": "web-1"}),
        (40_000, 200, WITH_NAMESPACE, OF_NAMESPACE),
        (40_000, 200, "", {}),
        (0, 404, WITH_NAMESPACE, {}),
        (0, 503, WITH_NAMESPACE, {"pod_name": "web-1"}),
        (0, 200, f"{WITH_NAMESPACE}\nNamespace_Metadata_Only On", OF_NAMESPACE),
        (0, 404, f"{WITH_NAMESPACE}\nNamespace_Metadata_Only On", {}),
    ],
)
@pytest.mark.parametrize("keep", ["On", "Off"])
@pytest.mark.parametrize("as_rows", [True, False])
async def test_sec9_a_line_cannot_forge_its_metadata(
    api: KubernetesStandIn,
    account: Account,
    pod_size: int,
    status: int,
    more: str,
    expected: Body,
    keep: str,
    as_rows: bool,
) -> None:
    api.namespaces["default"] = {"metadata": {"name": "default"}}
    api.add_pod(pod(annotations={"big": "x" * pod_size}))
    api.status = status
    records = batch({"log": FORGED, "stream": "stdout"})
    if as_rows:
        block = read_cri_block(f"{cri(FORGED)}\n".encode(), 0)
        assert block is not None
        records = RecordBatch(TAG, block, 100)
    async with opened(account.lines(api, f"{BARE}\nMerge_Log On\nKeep_Log {keep}\n{more}"), ManualClock()) as one:
        body = (await through(one, records))[0]

    told = {"kubernetes_namespace": body["kubernetes_namespace"]} if "kubernetes_namespace" in body else {}
    told |= {"pod_name": body["kubernetes"]["pod_name"]} if "kubernetes" in body else {}
    assert (told, body["level"], "log" in body) == (expected, "info", keep == "On")


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


def test_our_own_log_has_the_names_of_the_pod_we_run_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTNAME", "agent-0")
    (tmp_path / "namespace").write_text("logging")
    sections = (
        "[INPUT]\n    name fluentbit_logs\n    tag own\n"
        "[FILTER]\n    name kubernetes\n    match *\n    use_tag_for_meta on\n"
        f"    kube_namespace_file {tmp_path}/namespace\n"
    )
    with Reader(tmp_path, filters=sections) as reader:
        reader.start()
        reader.until(lambda: bool(reader.records("own")))
        reader.stop()
        found = reader.records("own")

    assert [r["kubernetes"] for r in found] == [{"pod_name": "agent-0", "namespace_name": "logging"}] * len(found)
