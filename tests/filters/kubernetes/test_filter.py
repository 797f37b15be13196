"""The kubernetes filter in front of an API server and a kubelet: vectors of options, records in, records out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import ConfigError, OptionError
from shipper.filters.kubernetes import KubernetesOptions
from shipper.filters.kubernetes.maps import MapMaker
from shipper.inputs.tail.cri_block import read_cri_block
from shipper.record import Body, Record, RecordBatch
from shipper.testing import ManualClock, settle

from ...components.kubernetes import KubernetesStandIn, container_status, kubernetes_stand_in, pod
from ...written_options import options_from
from .harness import BARE, ID, TAG, TIME_NS, Account, K, batch, filter_of, opened, through

HELLO = {"log": "hello\n", "stream": "stdout"}
SIMPLE = {"log": '{"text":"Simple"}\n', "stream": "stdout"}
OWNERS = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9cbcdf", "controller": True}]
NAMESPACE = {"metadata": {"name": "default", "labels": {"team": "blue"}, "annotations": {"a": "b"}}}


@pytest.fixture
async def api() -> AsyncIterator[KubernetesStandIn]:
    async with kubernetes_stand_in() as stand_in:
        stand_in.add_pod(pod())
        stand_in.namespaces["default"] = NAMESPACE
        yield stand_in


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def k_with(before: str, **members: Any) -> Body:
    """K with members in front of another one."""
    found: Body = {}
    for key, value in K.items():
        found |= members if key == before else {}
        found[key] = value
    return found


NAMED = {"name": "default", "labels": {"team": "blue"}, "annotations": {"a": "b"}}
VECTORS: list[tuple[str, Body, Body]] = [
    ("", HELLO, {**HELLO, "kubernetes": K}),
    (
        "Owner_References On",
        HELLO,
        {**HELLO, "kubernetes": k_with("host", ownerReferences=OWNERS)},
    ),
    (
        "Namespace_Labels On\nNamespace_Annotations On",
        HELLO,
        {**HELLO, "kubernetes": K, "kubernetes_namespace": NAMED},
    ),
    (
        "Namespace_Labels On\nNamespace_Metadata_Only On",
        HELLO,
        {**HELLO, "kubernetes_namespace": {"name": "default", "labels": {"team": "blue"}}},
    ),
    ("Namespace_Metadata_Only On\nMerge_Log On", SIMPLE, SIMPLE),
    ("Merge_Log On", SIMPLE, {**SIMPLE, "text": "Simple", "kubernetes": K}),
    ("Merge_Log On\nKeep_Log Off", SIMPLE, {"stream": "stdout", "text": "Simple", "kubernetes": K}),
    ("Merge_Log On\nMerge_Log_Key mk", SIMPLE, {**SIMPLE, "mk": {"text": "Simple"}, "kubernetes": K}),
    ("Merge_Log On", {"log": '{"text":"Simple"]\n'}, {"log": '{"text":"Simple"]\n', "kubernetes": K}),
    ("Merge_Log On\nKeep_Log Off", {"log": "[1,2]"}, {"log": "[1,2]", "kubernetes": K}),
    ("", {"kubernetes": "forged", "log": "x"}, {"log": "x", "kubernetes": K}),
    ("Merge_Log On\nKeep_Log Off", {"log": '{"kubernetes":{"pod_name":"forged"}}'}, {"kubernetes": K}),
    ("Labels On", HELLO, {**HELLO, "kubernetes": k_with("host", labels={"app": "web"})}),
    (
        "Labels On\nAnnotations On\nOwner_References On",
        HELLO,
        {
            **HELLO,
            "kubernetes": k_with("host", labels={"app": "web"}, annotations={"x": "y"}, ownerReferences=OWNERS),
        },
    ),
]


@pytest.mark.parametrize(("more", "body", "expected"), VECTORS)
async def test_what_is_added_and_where(
    api: KubernetesStandIn, account: Account, more: str, body: Body, expected: Body
) -> None:
    api.add_pod(pod(labels={"app": "web"}, annotations={"x": "y"}, ownerReferences=OWNERS))
    given = {line.split()[0] for line in more.splitlines()}
    bare = "\n".join(line for line in BARE.splitlines() if line.split()[0] not in given)
    async with opened(account.lines(api, f"{bare}\n{more}")) as one:
        found = await through(one, batch(body))

    assert json.dumps(found) == json.dumps([expected])


@pytest.mark.parametrize("more", [BARE, f"{BARE}\nUse_Kubelet On"])
async def test_metadata_is_asked_for_once(api: KubernetesStandIn, account: Account, more: str) -> None:
    async with opened(account.lines(api, more)) as one:
        found = [await through(one, batch(HELLO)) for _ in range(3)]

    assert found == [[{**HELLO, "kubernetes": K}]] * 3
    assert len(api.targets) == 1


async def test_rows_of_a_file_are_enriched_without_becoming_records(api: KubernetesStandIn, account: Account) -> None:
    block = read_cri_block(b'2024-05-06T07:08:09.123456789Z stdout F {"m":"hi"}\n', 0)
    assert block is not None
    async with opened(account.lines(api, f"{BARE}\nMerge_Log On")) as one:
        records = RecordBatch(TAG, block, 50)
        await one.prepare(records)
        left = one.apply(records)

    assert left is not None and not isinstance(left.content.json_lines(), type(None))
    assert [json.loads(line) for line in (left.content.json_lines() or b"").splitlines()] == [
        {
            "time": "2024-05-06T07:08:09.123456789Z",
            "stream": "stdout",
            "_p": "F",
            "log": '{"m":"hi"}',
            "m": "hi",
            "kubernetes": K,
        }
    ]


@pytest.mark.parametrize("more", ["", "Merge_Log On", "Use_Tag_For_Meta On", "Use_Kubelet On"])
async def test_the_map_of_a_container_is_built_and_encoded_once(
    api: KubernetesStandIn, account: Account, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    encode = MapMaker._raw

    def counted(self: MapMaker, members: Body) -> Any:
        built.append(members)
        return encode(self, members)

    monkeypatch.setattr(MapMaker, "_raw", counted)
    lines = b'2024-05-06T07:08:09.123456789Z stdout F {"m":"hi"}\n' * 3
    other = TAG.replace(ID, "b" * 64)
    double = pod()
    double["status"]["containerStatuses"].append(container_status("side", "b" * 64))
    api.add_pod(double)
    maps: dict[str, set[int]] = {TAG: set(), other: set()}
    async with opened(account.lines(api, f"{BARE}\n{more}".strip())) as one:
        for tag in (TAG, other) * 3:
            block = read_cri_block(lines, 0)
            assert block is not None
            for records in (batch(HELLO, HELLO, tag=tag), RecordBatch(tag, block, 100)):
                await one.prepare(records)
                left = one.apply(records)
                assert left is not None
                maps[tag] |= {id(body["kubernetes"]) for body in left.content.bodies()}

    assert [len(found) for found in maps.values()] == [1, 1]
    assert maps[TAG] != maps[other]
    assert len(built) == 2


ANNOTATED = "K8S-Logging.Parser On\nMerge_Log On\nKeep_Log Off"


@pytest.mark.parametrize(
    ("annotations", "more", "body", "time_ns", "expected"),
    [
        (
            {"parser": "timed"},
            ANNOTATED,
            {"log": "[2019-04-05T14:54:23.584269761] Simple text\n", "stream": "stdout"},
            1554476063584269761,
            {"stream": "stdout", "message": "Simple text"},
        ),
        (
            {"parser": "timed"},
            ANNOTATED,
            {"log": "2019 - Simple text\n", "stream": "stdout"},
            TIME_NS,
            {"log": "2019 - Simple text\n", "stream": "stdout"},
        ),
        (
            {"parser": "timed"},
            "Merge_Log On",
            {"log": "[2019-04-05T14:54:23.584269761] x", "stream": "stdout"},
            TIME_NS,
            {"log": "[2019-04-05T14:54:23.584269761] x", "stream": "stdout"},
        ),
        (
            {"parser": "timed"},
            "K8S-Logging.Parser On",
            {"log": "[2019-04-05T14:54:23.584269761] x", "stream": "stdout"},
            TIME_NS,
            {"log": "[2019-04-05T14:54:23.584269761] x", "stream": "stdout"},
        ),
        (
            {"parser": "nobody"},
            ANNOTATED,
            {"log": "a b", "stream": "stdout"},
            TIME_NS,
            {"log": "a b", "stream": "stdout"},
        ),
        (
            {"parser_stdout": "words"},
            ANNOTATED,
            {"log": "a b", "stream": "stderr"},
            TIME_NS,
            {"log": "a b", "stream": "stderr"},
        ),
        ({"parser": "words"}, ANNOTATED, {"log": "a b"}, TIME_NS, {"log": "a b"}),
        ({"parser": "words"}, ANNOTATED, {"log": '{"a":1}', "stream": "stdout"}, TIME_NS, None),
    ],
)
async def test_parser_annotations(
    api: KubernetesStandIn,
    account: Account,
    annotations: dict[str, str],
    more: str,
    body: Body,
    time_ns: int,
    expected: Body | None,
) -> None:
    api.add_pod(pod(annotations={f"fluentbit.io/{key}": value for key, value in annotations.items()}))
    async with opened(account.lines(api, f"{BARE}\n{more}")) as one:
        records = batch(body)
        found = await through(one, records)

    assert found == [{**(body if expected is None else expected), "kubernetes": K}]
    assert [r.time_ns for r in records] == [time_ns]


async def test_annotations_that_are_not_obeyed_are_shown_all_the_same(api: KubernetesStandIn, account: Account) -> None:
    annotations = {"fluentbit.io/parser": "words"}
    api.add_pod(pod(annotations=annotations))
    async with opened(account.lines(api, "Labels Off\nMerge_Log On\nK8S-Logging.Parser Off")) as one:
        found = await through(one, batch({"log": "a b", "stream": "stdout"}))

    assert found == [{"log": "a b", "stream": "stdout", "kubernetes": k_with("host", annotations=annotations)}]


@pytest.mark.parametrize(("more", "is_used"), [("", False), ("Buffer_Size 64K", True), ("Buffer_Size 0", True)])
async def test_an_answer_that_is_longer_than_the_buffer_is_not_used(
    api: KubernetesStandIn, account: Account, more: str, is_used: bool
) -> None:
    api.add_pod(pod(annotations={"big": "x" * 40_000}))
    async with opened(account.lines(api, f"{BARE}\n{more}".strip())) as one:
        found = await through(one, batch(HELLO))

    assert ("pod_id" in found[0].get("kubernetes", {})) is is_used


async def test_a_parser_without_a_time_gives_the_time_of_now(api: KubernetesStandIn, account: Account) -> None:
    clock = ManualClock()
    async with opened(account.lines(api, "Use_Tag_For_Meta On\nMerge_Log On\nMerge_Parser words"), clock) as one:
        records = batch({"log": "a b"})
        await through(one, records)

    assert [r.time_ns for r in records] == [clock.time_ns()]


@pytest.mark.parametrize(
    ("annotations", "more", "streams", "kept"),
    [
        ({"exclude": "true"}, "K8S-Logging.Exclude On", ["stdout", "stderr", "x"], []),
        ({"exclude": "true"}, "", ["stdout"], ["stdout"]),
        ({"exclude": "maybe"}, "K8S-Logging.Exclude On", ["stdout"], ["stdout"]),
        ({"exclude_stderr": "on"}, "K8S-Logging.Exclude On", ["stdout", "stderr", "x"], ["stdout", "x"]),
    ],
)
@pytest.mark.parametrize("as_rows", [False, True])
async def test_exclude_annotations(
    api: KubernetesStandIn,
    account: Account,
    annotations: dict[str, str],
    more: str,
    streams: list[str],
    kept: list[str],
    as_rows: bool,
) -> None:
    api.add_pod(pod(annotations={f"fluentbit.io/{key}": value for key, value in annotations.items()}))
    records = batch(*({"log": "x", "stream": stream} for stream in streams))
    if as_rows:
        streams, kept = [s for s in streams if s != "x"], [s for s in kept if s != "x"]
        lines = "".join(f"2024-05-06T07:08:09.123456789Z {stream} F x\n" for stream in streams)
        block = read_cri_block(lines.encode(), 0)
        assert block is not None
        records = RecordBatch(TAG, block, 100)
    async with opened(account.lines(api, f"{BARE}\n{more}")) as one:
        found = await through(one, records)

    assert [body["stream"] for body in found] == kept


async def test_a_minimal_pod_gives_the_names_of_the_tag(api: KubernetesStandIn, account: Account) -> None:
    api.pods["default", "web-1"] = {"kind": "Pod"}
    async with opened(account.lines(api, BARE)) as one:
        found = await through(one, batch(HELLO))

    names = ("pod_name", "namespace_name", "container_name", "docker_id")
    assert found == [{**HELLO, "kubernetes": {name: K[name] for name in names}}]


async def test_a_container_of_the_start_is_found_among_the_init_containers(
    api: KubernetesStandIn, account: Account
) -> None:
    one_pod = pod()
    one_pod["status"]["initContainerStatuses"] = [container_status("init", "b" * 64, "init:1")]
    api.add_pod(one_pod)
    async with opened(account.lines(api, BARE)) as one:
        found = await through(one, batch(HELLO, tag=TAG.replace("_app-", "_init-")))

    assert found[0]["kubernetes"]["container_image"] == "init:1"
    assert found[0]["kubernetes"]["docker_id"] == ID


@pytest.mark.parametrize(
    ("image_id", "expected"),
    [
        ("docker-pullable://reg/app@sha256:c", "reg/app@sha256:c"),
        ("docker.io/a/b@sha256:c", "docker.io/a/b@sha256:c"),
        ("sha256:c", "sha256:c"),
        ("nothing", None),
        ("", None),
    ],
)
async def test_ids_lose_their_scheme(
    api: KubernetesStandIn, account: Account, image_id: str, expected: str | None
) -> None:
    one_pod = pod()
    one_pod["status"]["containerStatuses"][0]["imageID"] = image_id
    api.add_pod(one_pod)
    async with opened(account.lines(api, BARE)) as one:
        found = await through(one, batch(HELLO))

    assert found[0]["kubernetes"].get("container_hash") == expected


@pytest.mark.parametrize("status", [404, 403])
async def test_without_metadata_a_record_has_no_map_and_is_merged_all_the_same(
    api: KubernetesStandIn, account: Account, status: int
) -> None:
    api.status = status
    async with opened(account.lines(api, f"{BARE}\nMerge_Log On")) as one:
        found = await through(one, batch(SIMPLE))

    assert found == [{**SIMPLE, "text": "Simple"}]


@pytest.mark.parametrize("key", ["kubernetes", "kubernetes_namespace"])
async def test_a_merge_key_of_the_filter_itself_is_not_used(
    account: Account, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(f"Use_Tag_For_Meta On\nMerge_Log On\nKeep_Log Off\nMerge_Log_Key {key}") as one:
        found = await through(one, batch(SIMPLE))

    names = ("pod_name", "namespace_name", "container_name", "docker_id")
    assert found == [{**SIMPLE, "kubernetes": {name: K[name] for name in names}}]
    assert f"merge_log_key {key}" in caplog.text


async def test_without_a_token_nobody_is_asked(api: KubernetesStandIn, account: Account) -> None:
    (account.folder / "token").unlink()
    async with opened(account.lines(api, BARE)) as one:
        found = await through(one, batch(HELLO))

    assert (found, api.targets) == ([HELLO], [])


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "vanished"])
async def test_a_token_file_that_holds_no_token_is_named_once_and_read_again(
    api: KubernetesStandIn, account: Account, is_empty: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    api.add_pod(pod("web-2"))
    async with opened(account.lines(api, BARE), clock) as one:
        first = await through(one, batch(HELLO))
        if is_empty:
            (account.folder / "token").write_text("")
        else:
            (account.folder / "token").unlink()
        asked = len(api.targets)
        second = [await through(one, batch(HELLO, tag=TAG.replace("web-1", name))) for name in ("web-2", "web-3")]
        asked_without = len(api.targets) - asked
        account.set_token("token-1")
        await clock.advance(60)
        third = await through(one, batch(HELLO, tag=TAG.replace("web-1", "web-2")))

    told = [r.getMessage() for r in caplog.records if f"Kube_Token_File {account.folder}/token" in r.getMessage()]
    assert ["pod_id" in found[0].get("kubernetes", {}) for found in (first, *second, third)] == [
        True,
        *[False] * 2,
        True,
    ]
    assert asked_without == 0
    assert len(told) == 1
    assert "gives no token" in told[0]


async def test_without_the_ca_file_nobody_is_asked(api: KubernetesStandIn, account: Account) -> None:
    lines = account.lines(api, f"{BARE}\ntls.verify Off").replace(str(api.ca_file), "/nowhere/ca.crt")
    async with opened(lines) as one:
        found = await through(one, batch(HELLO))

    assert (found, api.targets) == ([HELLO], [])


async def test_the_certificate_is_checked(api: KubernetesStandIn, account: Account, tmp_path: Path) -> None:
    lines = account.lines(api, f"{BARE}\ntls.verify_hostname On\ntls.vhost elsewhere")
    async with opened(lines) as one:
        found = await through(one, batch(HELLO))

    assert "pod_id" not in found[0].get("kubernetes", {})
    assert api.targets == []


async def test_a_token_may_come_from_a_command(api: KubernetesStandIn, account: Account) -> None:
    lines = account.lines(api, f"{BARE}\nKube_Token_Command printf token-%s 1")
    (account.folder / "token").unlink()
    async with opened(lines) as one:
        found = await through(one, batch(HELLO))

    assert found == [{**HELLO, "kubernetes": K}]


@pytest.mark.parametrize("command", ["exit 3", "true", "yes", "sleep 0; printf 'a\\nb'"])
async def test_what_a_command_prints_must_be_a_token(api: KubernetesStandIn, account: Account, command: str) -> None:
    async with opened(account.lines(api, f"{BARE}\nKube_Token_Command {command}")) as one:
        found = await through(one, batch(HELLO))

    assert (found, api.targets) == ([HELLO], [])


async def test_the_kubelet_is_asked_for_exactly_this_name(api: KubernetesStandIn, account: Account) -> None:
    api.pods = {}
    for name, uid in (("web-12", "u-12"), ("web-1", "u-1")):
        api.add_pod(pod(name, uid=uid))
    async with opened(account.lines(api, f"{BARE}\nUse_Kubelet On")) as one:
        found = await through(one, batch(HELLO))

    assert found[0]["kubernetes"]["pod_id"] == "u-1"
    assert api.targets == ["/pods"]


async def test_a_pod_that_the_kubelet_does_not_know_yet_has_its_names(api: KubernetesStandIn, account: Account) -> None:
    api.pods = {}
    async with opened(account.lines(api, f"{BARE}\nUse_Kubelet On")) as one:
        found = await through(one, batch(HELLO))

    names = ("pod_name", "namespace_name", "container_name", "docker_id")
    assert found == [{**HELLO, "kubernetes": {name: K[name] for name in names}}]


async def test_journal_records_are_enriched_by_their_own_names(api: KubernetesStandIn, account: Account) -> None:
    field = "k8s_app.hash1_web-1_default_u-1_0"
    bodies = [{"MESSAGE": "hi", "CONTAINER_NAME": field}, {"MESSAGE": "kubelet"}, {"CONTAINER_NAME": "other"}]
    async with opened(account.lines(api, f"{BARE}\nUse_Journal On")) as one:
        found = await through(one, batch(*bodies, tag="journal"))

    assert found == [{**bodies[0], "kubernetes": {**K, "container_hash": "hash1"}}]


async def test_prepared_answers_are_used_first(api: KubernetesStandIn, account: Account) -> None:
    (account.folder / "default_web-1.meta").write_text(json.dumps(pod(uid="of-file")))
    (account.folder / "default.namespace_meta").write_text(json.dumps(NAMESPACE))
    more = f"{BARE}\nKube_Meta_Preload_Cache_Dir {account.folder}\nNamespace_Labels On"
    async with opened(account.lines(api, more)) as one:
        found = await through(one, batch(HELLO))

    assert found[0]["kubernetes"]["pod_id"] == "of-file"
    assert found[0]["kubernetes_namespace"]["labels"] == {"team": "blue"}
    assert api.targets == []


async def test_the_own_pod_is_asked_for_at_the_start(
    api: KubernetesStandIn, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTNAME", "agent-0")
    (account.folder / "namespace").write_text("default\n")
    api.add_pod(pod("agent-0"))
    async with opened(account.lines(api, "Namespace_Labels On")):
        while len(api.targets) < 2:
            await settle()

    assert api.targets == ["/api/v1/namespaces/default/pods/agent-0", "/api/v1/namespaces/default"]


OWN_LINE = {"level": "info", "message": "x"}


@pytest.mark.parametrize("more", ["", "Use_Journal On", "Use_Kubelet On"])
async def test_our_own_log_is_that_of_the_pod_we_run_in(
    api: KubernetesStandIn, account: Account, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    monkeypatch.setenv("HOSTNAME", "agent-0")
    (account.folder / "namespace").write_text("default\r\n")
    api.add_pod(pod("agent-0", uid="u-own"))
    own = frozenset({"own"})
    async with opened(account.lines(api, f"{BARE}\n{more}".strip()), own_log_tags=own) as one:
        found = await through(one, batch(OWN_LINE, tag="own"))

    names = {"pod_name": "agent-0", "namespace_name": "default"}
    assert found == [{**OWN_LINE, "kubernetes": {**names, "pod_id": "u-own", "host": "node-1", "pod_ip": "10.0.0.9"}}]


async def test_our_own_log_stays_as_it_is_outside_of_a_pod(api: KubernetesStandIn, account: Account) -> None:
    async with opened(account.lines(api, BARE), own_log_tags=frozenset({"own"})) as one:
        found = await through(one, batch(OWN_LINE, tag="own"))

    assert (found, api.targets) == ([OWN_LINE], [])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("Kube_URL ftp://x", "kube_url"),
        ("Kube_URL x", "kube_url"),
        ("Regex_Parser nobody", "regex_parser"),
        ("Regex_Parser j", "regex_parser"),
        ("Kube_Meta On", "kube_meta"),
        ("Labels On\nLabels Off", "labels"),
    ],
)
def test_mistakes_are_told(lines: str, expected: str) -> None:
    with pytest.raises((ConfigError, OptionError)) as told:
        filter_of(lines)

    assert expected in str(getattr(told.value, "option", told.value))


@pytest.mark.parametrize(
    ("url", "host", "port", "is_tls"),
    [
        ("https://kubernetes.default.svc", "kubernetes.default.svc", 443, True),
        ("http://api", "api", 443, False),
        ("http://[::1]:8080", "::1", 8080, False),
        ("https://10.0.0.1:6443/", "10.0.0.1", 6443, True),
    ],
)
def test_urls(url: str, host: str, port: int, is_tls: bool) -> None:
    found = options_from(KubernetesOptions, f"Kube_URL {url}").kube_url

    assert (found.host, found.port, found.is_tls) == (host, port, is_tls)


async def test_record_metadata_is_not_kept_and_sizes_follow_dropped_records(
    api: KubernetesStandIn, account: Account
) -> None:
    api.add_pod(pod(annotations={"fluentbit.io/exclude_stderr": "on"}))
    records = RecordBatch(TAG, [Record(1, {"stream": "stdout"}, {"m": 1}), Record(1, {"stream": "stderr"})], 100)
    async with opened(account.lines(api, "K8S-Logging.Exclude On")) as one:
        await one.prepare(records)
        left = one.apply(records)

    assert left is not None
    assert (len(left), left.size, left.content.has_metadata) == (1, 50, False)
