"""Variables that a manifest gives to the configuration: literal, from a ConfigMap, or known to the cluster alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from shipper.doctor.findings import Finding
from shipper.doctor.manifests import read_manifests
from shipper.doctor.variables import variables_of

MAP = "kind: ConfigMap\nmetadata: {name: info}\ndata: {port: '2020', region: eu-west-1}\n---\n"


def read(
    folder: Path, keys: str, process: Mapping[str, str] | None = None, first: str = MAP
) -> tuple[dict[str, str], list[str]]:
    """The variables, and what is told of them, for a container with these keys."""
    (folder / "m.yaml").write_text(f"{first}kind: Pod\nspec: {{containers: [{{name: s, image: shipper, {keys}}}]}}\n")
    findings: list[Finding] = []
    manifests = read_manifests([str(folder / "m.yaml")], findings)
    variables = variables_of(manifests, process or {}, findings)
    return variables, [f"{finding.message} - {finding.remedy}" for finding in findings]


def reference(name: str, config_map: str, key: str, more: str = "") -> str:
    return f"{{name: {name}, valueFrom: {{configMapKeyRef: {{name: {config_map}, key: {key}{more}}}}}}}"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("env: [{name: A, value: one}, {name: B, value: 3}, {name: C}]", {"A": "one", "B": "3", "C": ""}),
        (f"env: [{reference('PORT', 'info', 'port')}]", {"PORT": "2020"}),
        ("envFrom: [{configMapRef: {name: info}}]", {"port": "2020", "region": "eu-west-1"}),
        ("envFrom: [{configMapRef: {name: info}, prefix: I_}]", {"I_port": "2020", "I_region": "eu-west-1"}),
        ("envFrom: [{configMapRef: {name: info}}], env: [{name: port, value: '1'}]",
         {"port": "1", "region": "eu-west-1"}),
        ("env: [{name: N, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]", {"N": "made-up"}),
        ("env: [{name: N, valueFrom: {secretKeyRef: {name: s, key: k}}}]", {"N": "made-up"}),
        ("env: [{name: N, valueFrom: {resourceFieldRef: {resource: limits.memory}}}]", {"N": "1"}),
        (f"env: [{reference('N', 'info', 'nope', ', optional: true')}]", {}),
        ("env: 3, envFrom: [1, {}]", {}),
    ],
)  # fmt: skip
def test_values_are_those_of_the_pod(tmp_path: Path, keys: str, expected: Mapping[str, str]) -> None:
    assert read(tmp_path, keys) == (expected, [])


def test_the_pod_wins_over_the_process_except_for_what_is_made_up(tmp_path: Path) -> None:
    keys = "env: [{name: A, value: pod}, {name: B, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]"

    variables, _ = read(tmp_path, keys, {"A": "process", "B": "process", "C": "process"})

    assert variables == {"A": "pod", "B": "process", "C": "process"}


def test_a_config_map_that_no_file_has_is_told_once(tmp_path: Path) -> None:
    keys = f"env: [{reference('A', 'info', 'a')}, {reference('B', 'info', 'b')}]"

    assert read(tmp_path, keys, first="") == (
        {},
        [
            "unknown: A, B of the ConfigMap 'info', which none of the files has - "
            "name its file too: kubectl get configmap info -o yaml"
        ],
    )


def test_a_variable_of_the_process_takes_the_place_of_a_config_map_that_no_file_has(tmp_path: Path) -> None:
    assert read(tmp_path, f"env: [{reference('A', 'info', 'a')}]", {"A": "x"}, first="") == ({"A": "x"}, [])


def test_a_key_that_is_missing_is_told(tmp_path: Path) -> None:
    variables, [told] = read(tmp_path, f"env: [{reference('A', 'info', 'nope')}]")

    assert variables == {}
    assert told.startswith("the ConfigMap 'info' has no key 'nope' for A")


def test_containers_that_do_not_run_us_give_none(tmp_path: Path) -> None:
    pod = "kind: Pod\nspec: {containers: [{name: web, image: nginx, env: [{name: A, value: x}]}]}\n---\n"

    assert read(tmp_path, "env: []", first=pod) == ({}, [])
