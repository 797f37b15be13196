"""Users' rows SEC7 (a slim image), SEC8 (no root), S6 and Z3 (manifests that fit): what is shipped beside the program.

The program of the image, made from the Dockerfile without an engine, runs as the pod of config/kubernetes/node does: as
a user without a name, with one capability, and with nothing that it may write but its state. That takes root.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.components.journal import write_journal
from tests.config_sets.image import Image, below, build
from tests.config_sets.manifests import SETS, built
from tests.config_sets.mounted import host_paths, mounted
from tests.inputs.tail.fluent_bit import FluentBit

from .cloudwatch import CREDENTIALS, CloudWatch

USER = 10001
_PATIENCE_S = 30.0
_OWNS_ALL, _READS_ALL = 0b010, 0b100
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH as masks."""

_IN_A_POD = """
mount --bind "$STATE" "$STATE"
for place in / /tmp; do ! mountpoint -q $place || mount -o remount,bind,ro $place; done
exec setpriv --reuid 10001 --regid 10001 --clear-groups $RIGHTS "$@"
"""
"""All of the host is read-only in here. Like containerd, `setpriv` keeps the capability until the program is run."""

OURS = "--no-new-privs --bounding-set=-all,+dac_read_search"
"""What config/kubernetes/node asks for."""

USUAL = (
    "--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service"
    ",+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap"
)
"""What engines give to a container whose manifest asks for nothing."""

PRIVILEGED = "--bounding-set=+all"

_DENIALS = ("Read-only", "ermission denied", "read access", "check permissions", "cannot be read", "cannot be written")
"""What the log would say about files that may not be read or written."""

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0,
    reason="needs root, and namespaces of mounts",
)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may enter, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="shipper-deployment-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(place: Path) -> Image:
    return build(place / "image", is_quick=True)


class Pod:
    """The program of the image in its pod; a context manager that leaves no process behind."""

    def __init__(self, command: Sequence[str], rights: str, state: Path, variables: dict[str, str]) -> None:
        self.log = state.with_name("log")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "-m", "sh", "-ec", _IN_A_POD, "pod", *command],
                env={
                    **{"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "STATE": str(state)},
                    **{"RIGHTS": rights, "PYTHONDONTWRITEBYTECODE": "1"},
                    **variables,
                },
                cwd="/",
                stdout=log,
                stderr=log,
            )

    def told(self) -> str:
        return self.log.read_text()

    def status(self, name: str) -> str:
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s*(\S+)", text, re.MULTILINE)
        assert found is not None
        return found[1]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert self._process.poll() is None and time.monotonic() < deadline, self.told()
            time.sleep(0.05)  # another process: there is nothing to wait on

    def get(self, path: str) -> int:
        """The status that a probe gets."""
        found = re.search(r"tcp_port=(\d+)", self.told())
        assert found is not None, self.told()
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=_PATIENCE_S)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Node:
    """The files of a node with Docker, all of them root's; a container has written one line."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "host"
        self.state = self.root / "var" / "fluent-bit" / "state"
        self.state.mkdir(parents=True, mode=0o700)
        log, docker = self.root / "var" / "log", self.root / "var" / "lib" / "docker"
        container_id = "a" * 64
        self._log = docker / "containers" / container_id / f"{container_id}-json.log"
        self._log.parent.mkdir(parents=True)
        self.write("for root's eyes")
        self._log.chmod(0o640)
        for place in (self._log.parent, self._log.parent.parent, docker):
            place.chmod(0o700)
        pod = log / "pods" / "shop_web-1_u-1" / "app" / "0.log"
        pod.parent.mkdir(parents=True)
        pod.symlink_to(self._log)
        self.containers = log / "containers"
        self.containers.mkdir()
        (self.containers / f"web-1_shop_app-{container_id}.log").symlink_to(pod)
        self.containers.chmod(0o750)
        self.journal = log / "journal" / ("0f" * 16) / "system.journal"
        self.journal.parent.mkdir(parents=True)
        write_journal(self.journal, {"MESSAGE": "kubelet began", "_SYSTEMD_UNIT": "kubelet.service"})
        self.journal.chmod(0o640)

    def write(self, text: str) -> None:
        """The container says this."""
        line = {"log": f"{text}\n", "stream": "stdout", "time": "2026-11-21T10:00:00.5Z"}
        with self._log.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")

    def give_state_away(self) -> None:
        """Do what the first container of our DaemonSet does, with its rights."""
        (first,) = built("kubernetes/node").pod["initContainers"]
        (mount,) = first["volumeMounts"]
        context = first["securityContext"]
        added = ",".join(f"+{name.lower()}" for name in context["capabilities"]["add"])
        assert (context["runAsUser"], context["capabilities"]["drop"]) == (0, ["ALL"])
        words = [str(self.state) if word == mount["mountPath"] else word for word in first["command"]]
        rights = ["--no-new-privs", f"--bounding-set=-all,{added}"]
        subprocess.run(["setpriv", *rights, *words], check=True, timeout=_PATIENCE_S)


@contextmanager
def node_pod(image: Image, folder: Path, service: CloudWatch, node: Node, rights: str = OURS) -> Iterator[Pod]:
    """The pod of a node with the set for Container Insights.

    With the rights of our DaemonSet it is that one. With others it is the published one: nobody gives the state folder
    away, and `fluent-bit` is run.
    """
    is_ours = rights == OURS
    if is_ours:
        node.give_state_away()
    etc = mounted(
        "container-insights",
        folder / "etc",
        [
            *host_paths(node.root),
            ("Flush                     5", "Flush 0.1\n    HC_Period 2\n    Scheduler.Base 1\n    Scheduler.Cap 1"),
            ("Use_Kubelet         On", "Use_Tag_For_Meta On"),
            ("auto_create_group   true", f"auto_create_group true\n    endpoint http://127.0.0.1:{service.port}"),
        ],
    )
    set_ = built("kubernetes/node")
    (etc / "shipper.conf").write_text(set_.config_maps["fluent-bit-config"]["shipper.conf"].read_text())
    imds = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"}
    variables = {**set_.environment(), **imds, "HTTP_PORT": "0", "READ_FROM_HEAD": "On", "READ_FROM_TAIL": "Off"}
    command = [below(image.root, word) for word in set_.shipper["command"]] if is_ours else [str(image.program)]
    pod = Pod([*command, "-c", str(etc / "shipper.conf")], rights, node.state, {**variables, **CREDENTIALS})
    try:
        yield pod
    finally:
        pod.close()


def denials(pod: Pod) -> list[str]:
    """The lines of the log that say that something may not be read or written."""
    return [line for line in pod.told().splitlines() if any(words in line for words in _DENIALS)]


@needs_root
def test_sec8_without_root_and_with_one_capability_it_reads_what_is_root_s_and_writes_its_state(
    image: Image, place: Path
) -> None:
    folder = place / "sec8"
    folder.mkdir()
    node = Node(folder)
    with CloudWatch() as service, node_pod(image, folder, service, node) as pod:
        pod.until(lambda: len(service.all_messages()) == 2)
        held = {name: pod.status(name) for name in ("Uid", "CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs")}
        code = pod.stop()

        arrived = "".join(service.all_messages())
    mask = f"{_READS_ALL:016x}"
    assert held == {
        **{"Uid": str(USER), "CapEff": mask, "CapPrm": mask, "CapBnd": mask},
        **{"CapAmb": f"{0:016x}", "NoNewPrivs": "1"},
    }
    assert "for root's eyes" in arrived and "kubelet began" in arrived
    assert (code, denials(pod)) == (0, [])
    assert {path.name for path in node.state.iterdir()} > {"flb_container.db", "systemd.db"}


@needs_root
def test_sec8_what_fluent_bit_has_left_as_root_is_handed_over_and_continued(image: Image, place: Path) -> None:
    folder = place / "handed-over"
    folder.mkdir()
    node = Node(folder)
    database = node.state / "flb_container.db"
    read = FluentBit(database, node.containers / "*.log").run()
    (node.state / "flb-storage").mkdir(mode=0o700)
    for path in node.state.iterdir():
        path.chmod(0o700 if path.is_dir() else 0o600)
    node.write("for us")
    with CloudWatch() as service, node_pod(image, folder, service, node) as pod:
        pod.until(lambda: len(service.all_messages()) == 2)
        code = pod.stop()

        arrived = "".join(service.all_messages())
    assert len(read) == 1 and "for root's eyes" in read[0]
    assert "for us" in arrived and "for root's eyes" not in arrived
    assert (code, denials(pod)) == (0, [])
    owners = {path.stat().st_uid for path in (node.state, *node.state.rglob("*"))}
    assert owners == {USER}


@needs_root
@pytest.mark.parametrize(
    "rights",
    [USUAL, f"{USUAL},+dac_read_search", PRIVILEGED],
    ids=["nothing asked for", "reading added", "privileged"],
)
def test_sec8_a_manifest_that_says_nothing_about_users_goes_on_working_without_root(
    image: Image, place: Path, rights: str, request: pytest.FixtureRequest
) -> None:
    """Its state folder belongs to root, and so does what is in it."""
    folder = place / f"unchanged {request.node.callspec.id}"
    folder.mkdir()
    node = Node(folder)
    FluentBit(node.state / "flb_container.db", node.containers / "none").run()
    with CloudWatch() as service, node_pod(image, folder, service, node, rights) as pod:
        pod.until(lambda: len(service.all_messages()) == 2)
        held = (pod.status("Uid"), pod.status("CapEff"))
        code = pod.stop()

    assert held == (str(USER), f"{_OWNS_ALL:016x}")
    assert (code, denials(pod)) == (0, [])
    assert (node.state / "systemd.db").exists()


@needs_root
def test_z3_a_dead_destination_fails_the_probe_for_readiness_and_not_the_one_for_life(
    image: Image, place: Path
) -> None:
    folder = place / "z3"
    folder.mkdir()
    container = built("kubernetes/node").shipper
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    with CloudWatch() as service:
        service.gate.clear()
        with node_pod(image, folder, service, Node(folder)) as pod:
            pod.until(lambda: "tcp_port=" in pod.told())
            pod.until(lambda: pod.get(probes["readinessProbe"]) == 500)
            dead = {name: pod.get(path) for name, path in probes.items()}
            service.gate.set()
            pod.until(lambda: pod.get(probes["readinessProbe"]) == 200)

    assert dead == {"startupProbe": 200, "livenessProbe": 200, "readinessProbe": 500}


@pytest.mark.parametrize("name", SETS)
def test_sec8_no_container_of_ours_runs_with_more_than_it_needs(name: str) -> None:
    result = built(name)
    container, own = result.shipper["securityContext"], result.pod["securityContext"]
    wanted = {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]} if name == "kubernetes/node" else {"drop": ["ALL"]}

    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": wanted,
    }
    assert (own["runAsNonRoot"], own["runAsUser"], own["seccompProfile"]) == (True, USER, {"type": "RuntimeDefault"})
    assert result.shipper["resources"]["limits"]["memory"]
    assert set(result.shipper["resources"]["requests"]) == {"cpu", "memory"}
    assert not any(result.pod.get(key) for key in ("hostPID", "hostIPC"))


@pytest.mark.parametrize("name", SETS)
def test_s6_a_pod_has_more_time_to_end_than_the_shipper_takes(name: str, tmp_path: Path) -> None:
    result = built(name)
    configuration = result.mount(tmp_path / "etc")
    texts = "\n".join(path.read_text() for path in configuration.parent.iterdir())
    graces = [int(found) for found in re.findall(r"(?im)^\s*grace\s+(\d+)\s*$", texts)]

    assert result.pod["terminationGracePeriodSeconds"] > max(graces) + 15


def test_sec7_the_image_is_slim_has_no_compiler_and_no_root(image: Image) -> None:
    site = next((image.root / "opt" / "shipper" / "lib").glob("python3.*/site-packages"))

    assert image.settings["USER"] == f"{USER}:{USER}"
    assert not any("gcc" in command for command in image.skipped[image.skipped.index("rm -rf /var/lib/apt/lists/*") :])
    assert sorted(path.name for path in (site / "botocore" / "data").iterdir()) == ["logs"]  # and not the rest of AWS
    assert not (image.root / "src").exists()
