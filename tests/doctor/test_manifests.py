"""Pods found in files of many kinds, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.doctor import manifests
from shipper.doctor.findings import Finding
from shipper.doctor.manifests import Manifests, Pod, read_manifests


def read(folder: Path, text: str) -> tuple[list[Pod], list[Finding]]:
    path = folder / "m.yaml"
    path.write_text(text)
    findings: list[Finding] = []
    return read_manifests([str(path)], findings).pods, findings


@pytest.mark.parametrize("kind", ["DaemonSet", "Deployment", "StatefulSet", "ReplicaSet", "Job"])
def test_pod_of_a_workload_is_its_template(tmp_path: Path, kind: str) -> None:
    [pod], findings = read(tmp_path, f"kind: {kind}\nmetadata: {{name: a}}\nspec: {{template: {{spec: {{x: 1}}}}}}\n")

    assert (pod.place, pod.spec) == (f"{tmp_path}/m.yaml, document 1 ({kind} a)", {"x": 1})
    assert findings == []


def test_pod_of_a_cron_job_is_the_template_of_its_jobs(tmp_path: Path) -> None:
    text = "kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {x: 1}}}}}\n"
    [pod], _ = read(tmp_path, text)

    assert pod.spec == {"x": 1}


def test_documents_are_counted_and_other_kinds_passed_over(tmp_path: Path) -> None:
    text = "---\nkind: Service\nspec: {x: 1}\n---\n---\nkind: Pod\nmetadata: {name: a, namespace: b}\nspec: {x: 2}\n"
    pods, _ = read(tmp_path, text)

    assert pods == [Pod(f"{tmp_path}/m.yaml, document 3 (Pod b/a)", {"x": 2})]


def test_items_of_a_list_are_pods_too(tmp_path: Path) -> None:
    pods, _ = read(tmp_path, "kind: List\nitems:\n- {kind: Secret}\n- {kind: Pod, spec: {x: 1}}\n")

    assert pods == [Pod(f"{tmp_path}/m.yaml, document 1, item 2 (Pod)", {"x": 1})]


def test_claims_of_a_stateful_set_are_known(tmp_path: Path) -> None:
    text = "kind: StatefulSet\nspec:\n  template: {spec: {}}\n  volumeClaimTemplates: [{metadata: {name: state}}]\n"
    [pod], _ = read(tmp_path, text)

    assert pod.claims == {"state"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: {{ .Values.kind }}\n", "line 1: found unhashable key"),
        ("kind: Pod\n  spec: {\n", "line 2: mapping values are not allowed here"),
        ("a: 2024-99-99\n", "month must be in 1..12"),
        ("a: !!timestamp x\n", "object has no attribute"),
        ("a: !!python/object:os.system x\n", "could not determine a constructor"),
        ("[" * 5_000, "maximum recursion depth exceeded"),
        ("a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60)), "keys"),
    ],
)  # fmt: skip
def test_what_is_not_yaml_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    pods, [finding] = read(tmp_path, text)

    assert pods == []
    assert finding.place == f"{tmp_path}/m.yaml"
    assert told in finding.message
    assert "helm template" in finding.remedy


def test_documents_before_a_mistake_are_kept(tmp_path: Path) -> None:
    pods, findings = read(tmp_path, "kind: Pod\nspec: {x: 1}\n---\n{{\n")

    assert [pod.spec for pod in pods] == [{"x": 1}]
    assert len(findings) == 1


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "SIZE_LIMIT", 20)
    pods, [finding] = read(tmp_path, "kind: Pod\nspec: {x: 1}\n")

    assert pods == []
    assert finding.message == "is not read: it is larger than 20 bytes"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    findings: list[Finding] = []

    assert read_manifests([str(tmp_path / "no.yaml")], findings) == Manifests([], {})
    assert findings[0].message == "cannot be read: No such file or directory"


@pytest.mark.parametrize("text", ["", "- a\n", "kind: [Pod]\n", "kind: 3\n", "a: &a [*a]\n", "text\n"])
def test_documents_of_any_shape_are_passed_over(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == ([], [])


@pytest.mark.parametrize("text", ["kind: Pod\nspec: 3\n", "kind: Pod\n", "kind: Job\nspec: {template: [a]}\n"])
def test_a_pod_without_a_spec_is_an_empty_one(tmp_path: Path, text: str) -> None:
    [pod], findings = read(tmp_path, text)

    assert (pod.spec, findings) == ({}, [])
