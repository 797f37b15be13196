"""The manifests of config/kubernetes: that Kubernetes takes them, and that they fit the configurations they mount."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]  # it has no stubs
import pytest
import yaml

from shipper.config.units import ByteSize
from shipper.doctor.quantities import parse_quantity
from tests.components.shipper_process import shipper_command

from .manifests import SETS, WORKLOADS, Document, built, documents
from .mounted import CONFIG, dry_run, remarks

FILES = sorted(path for path in (CONFIG / "kubernetes").rglob("*.yaml") if path.name != "kustomization.yaml")
VERSIONS = ("1.29.0", kubernetes_validate.latest_version())

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")


def kustomized(name: str) -> list[Document]:
    """The objects that `kubectl apply -k` would send."""
    done = subprocess.run(
        ["kubectl", "kustomize", CONFIG / name], capture_output=True, text=True, timeout=60, check=True
    )
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_objects_are_what_the_schemas_of_kubernetes_describe(path: Path, version: str) -> None:
    """`strict` refuses keys that the schemas do not know."""
    used = [kubernetes_validate.validate(one, version, strict=True) for one in documents(path)]

    assert used


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["kubernetes", "kubernetes/sidecar"])
def test_what_kubectl_builds_is_what_the_schemas_describe_and_what_we_test(name: str, version: str) -> None:
    objects = kustomized(name)
    ours = built(name)

    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)
    assert sorted(one["kind"] for one in objects if one["kind"] != "ConfigMap") == sorted(
        one["kind"] for one in ours.objects if one["kind"] != "ConfigMap"
    )
    texts = {one["metadata"]["name"].rpartition("-")[0]: one["data"] for one in objects if one["kind"] == "ConfigMap"}
    for config_map, files in ours.config_maps.items():
        assert texts[config_map] == {file: path.read_text() for file, path in files.items()}


@needs_kubectl
@pytest.mark.parametrize("name", ["kubernetes", "kubernetes/sidecar"])
def test_what_kubectl_builds_mounts_what_it_has_and_runs_our_image(name: str) -> None:
    objects = kustomized(name)
    maps = {one["metadata"]["name"] for one in objects if one["kind"] == "ConfigMap"}

    for workload in (one for one in objects if one["kind"] in WORKLOADS):
        pod = workload["spec"]["template"]["spec"]
        images = {one["image"] for one in _containers(pod)}
        assert {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume} <= maps
        assert "registry.example.com/shipper:0.1.0" in images and "shipper" not in images
        assert workload["metadata"]["namespace"]


@needs_kubectl
def test_the_events_can_come_from_a_daemonset_instead(tmp_path: Path) -> None:
    """As the comment in kustomization.yaml says; by itself the folder has neither namespace nor image."""
    shutil.copytree(CONFIG, tmp_path / "config")
    whole = tmp_path / "config" / "kubernetes" / "kustomization.yaml"
    whole.write_text(whole.read_text().replace("  - events\n", "  - events-daemonset\n"))

    objects = kustomized(str(tmp_path / "config" / "kubernetes"))

    workloads = [one for one in objects if one["kind"] in WORKLOADS]
    assert sorted(one["metadata"]["name"] for one in workloads) == ["fluent-bit", "k8s-events"]
    assert {one["kind"] for one in workloads} == {"DaemonSet"}
    assert any(one["kind"] == "Namespace" for one in objects)
    images = {c["image"] for one in workloads for c in _containers(one["spec"]["template"]["spec"])}
    assert images == {"registry.example.com/shipper:0.1.0"}


def test_the_schemas_refuse_what_is_wrong() -> None:
    (daemonset,) = documents(CONFIG / "kubernetes" / "node" / "daemonset.yaml")
    daemonset["spec"]["template"]["spec"]["terminationGracePeriod"] = 60

    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(daemonset, VERSIONS[0], strict=True)


def test_the_folder_of_all_has_those_of_a_node_and_of_a_cluster() -> None:
    kinds = [one["kind"] for one in built("kubernetes").objects]

    assert kinds[0] == "Namespace"
    assert (kinds.count("DaemonSet"), kinds.count("Deployment")) == (1, 1)


@pytest.mark.parametrize("name", SETS)
def test_a_pod_runs_its_configuration_without_a_warning(name: str, tmp_path: Path) -> None:
    result = built(name)

    status, told = dry_run(result.mount(tmp_path / "etc"), result.environment())

    assert (status, remarks(told)) == (0, [])


@pytest.mark.parametrize("name", SETS)
def test_the_doctor_has_nothing_to_say_about_a_pod(name: str, tmp_path: Path) -> None:
    """Volumes for all that is read and kept, a limit that is enough for the records, rights, and time for a stop.

    What the configuration wants of variables is in the manifests.
    """
    result = built(name)
    paths = sorted((CONFIG / name).glob("*.yaml"))

    done = subprocess.run(
        [shipper_command(), "doctor", "-c", result.mount(tmp_path / "etc"), *paths],
        env={},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "nothing to complain about\n")


@pytest.mark.parametrize("name", ["kubernetes/events", "kubernetes/events-daemonset"])
def test_what_is_not_in_s3_yet_stays_below_the_limit_of_its_volume(name: str) -> None:
    """A pod that fills its emptyDir is evicted, and what is on it is gone."""
    result = built(name)
    limits = {v["emptyDir"]["sizeLimit"] for v in result.pod["volumes"] if "sizeLimit" in v.get("emptyDir", {})}
    text = "".join(path.read_text() for files in result.config_maps.values() for path in files.values())
    stores = re.findall(r"^ *store_dir ", text, re.MULTILINE)
    bounds = re.findall(r"^ *store_dir_limit_size (\S+)", text, re.MULTILINE)

    assert len(bounds) == len(stores) == len(limits) == 1
    assert all(ByteSize.parse(bound) < (parse_quantity(limit) or 0) for bound in bounds for limit in limits)


@pytest.mark.parametrize("name", SETS)
def test_everything_that_is_referred_to_is_there(name: str) -> None:
    result = built(name)
    pod, there = result.pod, {(one["kind"], one["metadata"]["name"]) for one in result.objects}
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounted = {mount["name"] for one in _containers(pod) for mount in one.get("volumeMounts", ())}
    ports = {port["name"] for port in result.shipper["ports"]}
    probed = {result.shipper[probe]["httpGet"]["port"] for probe in result.shipper if probe.endswith("Probe")}

    assert mounted == volumes
    assert probed <= ports
    assert ("ServiceAccount", pod["serviceAccountName"]) in there
    for binding in (one for one in result.objects if one["kind"].endswith("Binding")):
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in there
        assert {("ServiceAccount", subject["name"]) for subject in binding["subjects"]} <= there
    selector = result.workload["spec"]["selector"]["matchLabels"]
    assert selector.items() <= result.workload["spec"]["template"]["metadata"]["labels"].items()


def test_roles_allow_what_is_asked_for_and_nothing_more() -> None:
    """What is asked for is in test_container_insights and test_kubernetes_events."""

    def rules(name: str) -> dict[str, list[Document]]:
        objects = built(f"kubernetes/{name}").objects
        return {one["kind"]: one["rules"] for one in objects if one["kind"] in ("Role", "ClusterRole")}

    assert rules("node") == {
        "ClusterRole": [{"apiGroups": [""], "resources": ["nodes/pods", "nodes/proxy"], "verbs": ["get"]}]
    }
    assert rules("events-daemonset") == rules("events")
    assert rules("events") == {
        "ClusterRole": [{"apiGroups": [""], "resources": ["events"], "verbs": ["list", "watch"]}],
        "Role": [
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": ["get", "create", "update"],
            }
        ],
    }
    assert rules("sidecar") == {}


def _containers(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", ()), *pod["containers"]]
