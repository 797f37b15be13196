"""Small pods against what a configuration needs: which warnings come up, and what they name."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from shipper.doctor.manifests import Pod
from shipper.doctor.needs import Needs, Source, State
from shipper.doctor.pods import check_pods

LOGS = Source("path /var/log/app/*.log of t", "/var/log/app", is_pattern=True)
DB = State("DB of t", "/var/lib/shipper/tail.db", (LOGS,))
STORAGE = State("storage.path", "/var/lib/shipper/storage")
STORE = State("store_dir of s", "/var/lib/shipper/s3", is_kept=False)


def pod(text: str, place: str = "f.yaml, document 1 (Pod p)", claims: frozenset[str] = frozenset()) -> Pod:
    return Pod(place, yaml.safe_load(text), claims)


def told(text: str, **needs: Any) -> list[str]:
    """The warnings about one pod, without what they have in common."""
    findings = check_pods([pod(text)], Needs(**{"grace": 5.0, **needs}))
    return [str(finding).removeprefix("f.yaml, document 1 (Pod p)") for finding in findings]


def container(*lines: str, volumes: str = "[]", name: str = "shipper", more: str = "") -> str:
    """A pod with one container that runs us; `lines` are its keys, `more` are other containers."""
    keys = "".join(f"  {line}\n" for line in lines)
    return f"containers:\n- name: {name}\n  image: registry/{name}:1\n{keys}{more}volumes: {volumes}\n"


def mounts(**paths: str) -> str:
    return "volumeMounts: [" + ", ".join(f"{{name: {name}, mountPath: {path}}}" for name, path in paths.items()) + "]"


# -- the time of a stop ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "grace"),
    [("", 5), ("", 27), ("terminationGracePeriodSeconds:", 27), ("terminationGracePeriodSeconds: 8", 5)],
)
def test_a_period_with_time_for_grace_and_closing_is_fine(period: str, grace: float) -> None:
    assert told(f"{container()}{period}\n", grace=grace) == []


@pytest.mark.parametrize(
    ("period", "grace", "message"),
    [
        (
            "terminationGracePeriodSeconds: 7", 5.0,
            "terminationGracePeriodSeconds is 7, but a stop takes up to 8: Grace 5, 3 s to close "
            "- set terminationGracePeriodSeconds: 8, or Grace 4 in the SERVICE section",
        ),
        (
            "", 60.0,
            "terminationGracePeriodSeconds is 30 (the default), but a stop takes up to 63: Grace 60, 3 s to close "
            "- set terminationGracePeriodSeconds: 63, or Grace 27 in the SERVICE section",
        ),
        (
            "terminationGracePeriodSeconds: 0", 5.0,
            "terminationGracePeriodSeconds is 0, but a stop takes up to 8: Grace 5, 3 s to close "
            "- set terminationGracePeriodSeconds: 8",
        ),
        (
            "", -1.0,
            "terminationGracePeriodSeconds is 30 (the default), but Grace -1 waits without end and is killed then "
            "- set Grace 27 in the SERVICE section",
        ),
        ("terminationGracePeriodSeconds: '60'", 5.0, "terminationGracePeriodSeconds '60' is no whole number "
         "- write seconds"),
        ("terminationGracePeriodSeconds: true", 5.0, "terminationGracePeriodSeconds True is no whole number "
         "- write seconds"),
    ],
)  # fmt: skip
def test_a_period_too_short_names_value_and_remedy(period: str, grace: float, message: str) -> None:
    assert told(f"{container()}{period}\n", grace=grace) == [f": {message}"]


@pytest.mark.parametrize(
    ("hook", "count"),
    [
        ("lifecycle: {preStop: {sleep: {seconds: 23}}}", 1),
        ("lifecycle: {preStop: {exec: {command: [/bin/sh, -c, sleep 23]}}}", 1),
        ("lifecycle: {preStop: {exec: {command: [sleep, '22']}}}", 0),
        ("lifecycle: {preStop: {httpGet: {port: 1}}}", 0),
    ],
)
def test_what_a_hook_sleeps_before_counts_too(hook: str, count: int) -> None:
    found = told(container(hook))

    assert len(found) == count
    assert all("takes up to 31: 23 s of preStop, Grace 5" in line for line in found)


# -- files that are read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "volumes"),
    [
        ("/var/log", "[{name: v, hostPath: {path: /var/log}}]"),
        ("/var/log/app/", "[{name: v, hostPath: {path: /x}}]"),
        ("/var/log/app/web", "[{name: v, hostPath: {path: /x}}]"),
        ("/", "[{name: v, persistentVolumeClaim: {claimName: c}}]"),
    ],
)
def test_files_on_a_volume_are_fine(path: str, volumes: str) -> None:
    assert told(container(mounts(v=path), volumes=volumes), sources=(LOGS,)) == []


@pytest.mark.parametrize("path", ["/var/logs", "/var/log/app2", "/srv"])
def test_files_that_are_not_mounted_are_told(path: str) -> None:
    [line] = told(container(mounts(v=path), volumes="[{name: v, hostPath: {path: /var/log}}]"), sources=(LOGS,))

    assert line.startswith(", container shipper: path /var/log/app/*.log of t: /var/log/app is not mounted")
    assert "mount a hostPath volume with path /var/log/app" in line


def test_a_mount_below_does_not_do_for_one_file() -> None:
    file = Source("path /var/log/a of t", "/var/log/a")
    volumes = "[{name: v, hostPath: {path: /x}}]"

    assert len(told(container(mounts(v="/var/log/a/b"), volumes=volumes), sources=(file,))) == 1
    assert told(container(mounts(v="/var/log/a"), volumes=volumes), sources=(file,)) == []


@pytest.mark.parametrize("place", ["", "init"])
def test_a_sidecar_reads_the_empty_dir_of_its_application(place: str) -> None:
    application = "- name: app\n  image: app\n  volumeMounts: [{name: v, mountPath: /logs}]\n"
    if place:
        application = f"initContainers:\n{application}"
    text = container(mounts(v="/var/log/app"), volumes="[{name: v, emptyDir: {}}]", more=application)

    assert told(text, sources=(LOGS,)) == []


def test_an_empty_dir_that_nobody_else_writes_is_told() -> None:
    [line] = told(container(mounts(v="/var/log/app"), volumes="[{name: v, emptyDir: {}}]"), sources=(LOGS,))

    assert "/var/log/app is on the emptyDir 'v', which no other container mounts" in line


# -- what has to outlive the container ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [DB, STORAGE])
def test_state_in_the_file_system_of_the_container_is_told(state: State) -> None:
    assert told(container(), states=(state,)) == [
        f", container shipper: {state.told} {state.path} is in the container's own file system, which is lost when it "
        f"restarts - mount a hostPath or persistent volume that holds {state.path}"
    ]


@pytest.mark.parametrize("volume", ["emptyDir: {}", "emptyDir: {medium: Memory}", "emptyDir:"])
@pytest.mark.parametrize("state", [DB, STORAGE])
def test_state_on_an_empty_dir_is_told(state: State, volume: str) -> None:
    [line] = told(container(mounts(v="/var/lib"), volumes=f"[{{name: v, {volume}}}]"), states=(state,))

    assert f"{state.told} {state.path} is on the emptyDir 'v', which is lost with its pod" in line


@pytest.mark.parametrize(
    "volume", ["hostPath: {path: /x}", "persistentVolumeClaim: {claimName: c}", "csi: {driver: d}"]
)
@pytest.mark.parametrize("state", [DB, STORAGE])
def test_state_on_a_lasting_volume_is_fine(state: State, volume: str) -> None:
    assert told(container(mounts(v="/var/lib/shipper"), volumes=f"[{{name: v, {volume}}}]"), states=(state,)) == []


def test_state_on_a_claim_of_a_stateful_set_is_fine() -> None:
    claimed = pod(container(mounts(v="/var/lib/shipper")), claims=frozenset({"v"}))

    assert check_pods([claimed], Needs(grace=5, states=(DB, STORAGE))) == []


def test_positions_may_be_lost_together_with_their_files_but_not_what_is_stored() -> None:
    application = "- name: app\n  image: app\n  volumeMounts: [{name: logs, mountPath: /logs}]\n"
    text = container(
        mounts(logs="/var/log/app", state="/var/lib/shipper"),
        volumes="[{name: logs, emptyDir: {}}, {name: state, emptyDir: {}}]",
        more=application,
    )
    [line] = told(text, sources=(LOGS,), states=(DB, STORAGE))

    assert "storage.path" in line


@pytest.mark.parametrize(
    ("mount", "volume"),
    [
        ("{name: v, mountPath: /var/lib/shipper, readOnly: true}", "hostPath: {path: /x}"),
        ("{name: v, mountPath: /var/lib/shipper}", "configMap: {name: c}"),
    ],
)
def test_state_that_cannot_be_written_is_told(mount: str, volume: str) -> None:
    text = container(f"volumeMounts: [{mount}]", volumes=f"[{{name: v, {volume}}}]")
    [line] = told(text, states=(DB,))

    assert "is on 'v', which is mounted read-only - mount it writable" in line


def test_the_deepest_mount_counts() -> None:
    text = container(
        mounts(host="/var/lib", own="/var/lib/shipper"),
        volumes="[{name: host, hostPath: {path: /var/lib}}, {name: own, emptyDir: {}}]",
    )

    assert "emptyDir 'own'" in told(text, states=(STORAGE,))[0]


def test_a_relative_path_begins_at_the_working_folder() -> None:
    state = State("DB of t", "tail.db")
    volumes = "[{name: v, hostPath: {path: /x}}]"

    assert told(container("workingDir: /state", mounts(v="/state"), volumes=volumes), states=(state,)) == []
    assert "DB of t /tail.db is in the" in told(container(mounts(v="/state"), volumes=volumes), states=(state,))[0]


def test_state_in_the_file_system_of_a_container_that_is_read_only_is_told() -> None:
    text = container("securityContext: {readOnlyRootFilesystem: true}")

    for state in (DB, STORE):
        [line] = told(text, states=(state,))
        assert f"{state.told} {state.path} is in the container's own file system, which is read-only" in line


@pytest.mark.parametrize("volume", ["", "emptyDir: {}"])
def test_what_is_read_again_anyway_may_be_lost(volume: str) -> None:
    text = container(mounts(v="/var/lib"), volumes=f"[{{name: v, {volume}}}]") if volume else container()

    assert told(text, states=(STORE,)) == []


@pytest.mark.parametrize(
    ("volume", "most", "is_fine"),
    [
        ("emptyDir: {sizeLimit: 1Gi}", 900_000_000, True),
        ("emptyDir: {sizeLimit: 1Gi}", 0, False),
        ("emptyDir: {sizeLimit: 500Mi}", 900_000_000, False),
        ("emptyDir: {}", 0, True),
        ("emptyDir: {sizeLimit: much}", 0, True),
        ("hostPath: {path: /data}", 0, True),
    ],
)
def test_what_fills_its_volume_is_warned_of(volume: str, most: int, is_fine: bool) -> None:
    store = State("store_dir of s", "/data/s3", is_kept=False, bounded_by="store_dir_limit_size", most=most)
    text = container(mounts(data="/data"), "securityContext: {runAsUser: 0}", volumes=f"[{{name: data, {volume}}}]")

    found = told(text, states=(store,))

    assert bool(found) is not is_fine, found
    if not is_fine:
        assert "store_dir of s /data/s3 may outgrow 'data'" in found[0]
        assert found[0].endswith("set store_dir_limit_size to less than that")


# -- rights ------------------------------------------------------------------------------------------------------------

HOST_LOGS = "[{name: v, hostPath: {path: /var/log}}]"
HOST_STATE = "[{name: v, hostPath: {path: /var/lib/shipper, type: DirectoryOrCreate}}]"
DROP = "capabilities: {drop: [ALL]}"
MARKED = "command: [/opt/shipper/bin/python3-reads-all, -P, -m, shipper]"


@pytest.mark.parametrize(
    "context",
    [
        f"{{{DROP}}}",
        f"{{runAsUser: 1000, {DROP}}}",
        "{capabilities: {drop: [CAP_DAC_OVERRIDE]}}",
        "{capabilities: {drop: [all], add: [CHOWN]}}",
        "{allowPrivilegeEscalation: false}",
        "{allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [DAC_READ_SEARCH]}}",
    ],
)
def test_log_files_of_the_host_that_may_not_be_read_are_told(context: str) -> None:
    text = container(f"securityContext: {context}", mounts(v="/var/log"), volumes=HOST_LOGS)
    [line] = told(text, sources=(LOGS,))

    user = 1000 if "1000" in context else 10001
    assert (
        f"user {user} without DAC_READ_SEARCH cannot read log files of the host that are root's: /var/log/app" in line
    )


@pytest.mark.parametrize(
    ("context", "more"),
    [
        ("{}", ""),
        ("{runAsUser: 1000}", ""),
        (f"{{runAsUser: 0, {DROP}}}", ""),
        ("{capabilities: {drop: [ALL], add: [DAC_READ_SEARCH]}}", ""),
        ("{capabilities: {drop: [ALL], add: [CAP_DAC_OVERRIDE]}}", ""),
        ("{capabilities: {drop: [NET_RAW]}}", ""),
        ("{privileged: true}", ""),
        ("{allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [DAC_READ_SEARCH]}}", MARKED),
        (f"{{runAsGroup: 0, {DROP}}}", ""),
    ],
)
def test_log_files_of_the_host_that_may_be_read_are_fine(context: str, more: str) -> None:
    lines = [f"securityContext: {context}", mounts(v="/var/log"), *([more] if more else [])]

    assert told(container(*lines, volumes=HOST_LOGS), sources=(LOGS,)) == []


@pytest.mark.parametrize("of_pod", ["{runAsUser: 0}", "{supplementalGroups: [4]}"])
def test_what_a_pod_says_of_users_goes_for_its_containers(of_pod: str) -> None:
    text = container(f"securityContext: {{{DROP}}}", mounts(v="/var/log"), volumes=HOST_LOGS)

    assert told(f"{text}securityContext: {of_pod}\n", sources=(LOGS,)) == []


def test_files_of_an_application_beside_it_need_no_capability() -> None:
    application = "- name: app\n  image: app\n  volumeMounts: [{name: v, mountPath: /logs}]\n"
    lines = (f"securityContext: {{{DROP}}}", mounts(v="/var/log/app"))

    assert told(container(*lines, volumes="[{name: v, emptyDir: {}}]", more=application), sources=(LOGS,)) == []


@pytest.mark.parametrize("added", ["", ", add: [DAC_READ_SEARCH]"])
def test_a_folder_of_the_host_that_nobody_gives_away_is_told(added: str) -> None:
    context = f"securityContext: {{capabilities: {{drop: [ALL]{added}}}}}"
    text = container(context, mounts(v="/var/lib/shipper"), volumes=HOST_STATE)

    assert told(text, states=(DB, STORAGE)) == [
        ", container shipper: the hostPath 'v' is root's unless somebody gives it away, and user 10001 without "
        "DAC_OVERRIDE cannot write to it: DB of t, storage.path - let an init container do chown -R 10001 there, as "
        "config/kubernetes/node does"
    ]


@pytest.mark.parametrize("command", ["[chown, -R, '10001:10001', /state]", "[sh, -c, 'mkdir -p /x && chmod 777 /x']"])
def test_a_folder_of_the_host_that_an_init_container_gives_away_is_fine(command: str) -> None:
    first = f"initContainers: [{{name: i, command: {command}, volumeMounts: [{{name: v, mountPath: /state}}]}}]\n"
    text = container(f"securityContext: {{{DROP}}}", mounts(v="/var/lib/shipper"), volumes=HOST_STATE)

    assert told(first + text, states=(DB, STORAGE)) == []


@pytest.mark.parametrize("context", ["{}", "{privileged: true}", f"{{runAsUser: 0, {DROP}}}"])
def test_who_may_write_everything_needs_no_init_container(context: str) -> None:
    text = container(f"securityContext: {context}", mounts(v="/var/lib/shipper"), volumes=HOST_STATE)

    assert told(text, states=(DB, STORAGE)) == []


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["114M", "109Mi", "1Gi", 114_000_000])
def test_a_limit_with_room_for_process_and_records_is_fine(limit: Any) -> None:
    assert told(container(f"resources: {{limits: {{memory: {limit}}}}}"), held=(("t", 50_000_000),)) == []


def test_a_limit_below_process_and_records_names_both() -> None:
    held = (("t", 50_000_000), ("h", 64_000_000))

    assert told(container("resources: {limits: {memory: 128Mi}}"), held=held) == [
        ", container shipper: the memory limit 128Mi is lower than 178 MB: 64 MB for the process, and records of "
        "t 50 MB, h 64 MB - set resources.limits.memory: 178M or more, or lower Mem_Buf_Limit"
    ]


def test_a_limit_that_is_no_quantity_is_told() -> None:
    [line] = told(container("resources: {limits: {memory: 128MB}}"))

    assert "the memory limit '128MB' is no quantity" in line


# -- which container ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ours",
    [
        "image: cr.fluentbit.io/fluent/fluent-bit:3.0",
        "image: amazon/aws-for-fluent-bit",
        "{image: python, command: [python, -m, shipper]}",
        "{image: python, args: [/opt/shipper/bin/start]}",
    ],
)
def test_only_the_container_that_runs_us_is_looked_at(ours: str) -> None:
    ours = ours if ours.startswith("{") else f"{{{ours}}}"
    text = f"containers:\n- {{name: app, image: app}}\n- {ours}\n"
    [line] = told(text, states=(STORAGE,))

    assert line.startswith(", container : storage.path")


def test_if_none_can_be_told_to_run_us_all_are_looked_at() -> None:
    found = told("containers:\n- {name: a, image: x}\n- {name: b, image: y}\n", states=(STORAGE,))

    assert [line.partition(":")[0] for line in found] == [", container a", ", container b"]


def test_pods_that_do_not_run_us_are_left_alone() -> None:
    pods = [
        pod("{terminationGracePeriodSeconds: 1, containers: [{name: web, image: nginx}]}", "web"),
        pod("{terminationGracePeriodSeconds: 1, containers: [{name: s, image: shipper}]}", "s"),
    ]

    assert [finding.place for finding in check_pods(pods, Needs(grace=5))] == ["s"]


def test_a_sidecar_among_init_containers_is_looked_at() -> None:
    text = (
        "initContainers:\n- {name: s, image: shipper, restartPolicy: Always}\n- {name: once, image: shipper}\n"
        "containers: [{name: app, image: app}]\n"
    )

    assert [line.partition(":")[0] for line in told(text, states=(STORAGE,))] == [", container s"]


@pytest.mark.parametrize(
    "text",
    ["{}", "{containers: 3}",
     "{securityContext: 3, containers: [{securityContext: {capabilities: 3, runAsUser: x}}]}",
     "{containers: [1]}", "{containers: [{command: 3, args: {a: 1}, volumeMounts: [1, {}]}]}",
     "{volumes: [{}], containers: [{volumeMounts: 1, resources: [], lifecycle: 1, image: [1]}]}"],
)  # fmt: skip
def test_a_pod_of_any_shape_can_be_looked_at(text: str) -> None:
    found = told(text, sources=(LOGS,), states=(DB,), held=(("t", 1),))

    assert all(line.startswith(", container") for line in found)
