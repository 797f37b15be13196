"""Users' rows S6 and A2: what will go wrong in a cluster is told before it does."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.components.moto_server import moto_url
from tests.components.shipper_process import shipper_command

__all__ = ["moto_url"]

TAIL = (
    "[INPUT]\n    name tail\n    path /var/log/containers/*.log\n    db /var/lib/shipper/tail.db\n"
    "[OUTPUT]\n    name null\n    match *\n"
)
DAEMON_SET = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: shipper, namespace: logging}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: shipper, namespace: logging}
spec:
  template:
    spec:
      PERIOD
      containers:
        - name: shipper
          image: registry.example/shipper:1.0
          resources: {limits: {memory: 128Mi}}
          volumeMounts:
            - {name: logs, mountPath: /var/log, readOnly: true}
            - {name: state, mountPath: /var/lib/shipper}
      volumes:
        - {name: logs, hostPath: {path: /var/log}}
        - {name: state, hostPath: {path: /var/lib/shipper}}
"""


def doctor(*words: str | Path, variables: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run the command in a process of its own; gives its exit status and what it prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | dict(variables or {})
    command = [shipper_command(), "doctor", *map(str, words)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stdout + ran.stderr


def lint(folder: Path, grace: str, period: str) -> tuple[int, str]:
    configuration, manifest = folder / "shipper.conf", folder / "daemonset.yaml"
    configuration.write_text(f"[SERVICE]\n    {grace}\n{TAIL}")
    manifest.write_text(DAEMON_SET.replace("PERIOD", period))
    return doctor("-c", configuration, manifest)


def test_s6_a_grace_longer_than_the_pod_lives_is_told(tmp_path: Path) -> None:
    status, told = lint(tmp_path, "grace 25", "terminationGracePeriodSeconds: 20")

    assert (status, told) == (
        1,
        f"warning: {tmp_path}/daemonset.yaml, document 2 (DaemonSet logging/shipper): terminationGracePeriodSeconds is "
        "20, but a stop takes up to 28: Grace 25, 3 s to close - set terminationGracePeriodSeconds: 28, or Grace 17 in "
        "the SERVICE section\n1 warning\n",
    )


def test_s6_a_grace_within_the_life_of_the_pod_is_not(tmp_path: Path) -> None:
    assert lint(tmp_path, "grace 25", "terminationGracePeriodSeconds: 28") == (0, "nothing to complain about\n")
    assert lint(tmp_path, "flush 1", "") == (0, "nothing to complain about\n")


def test_sec8_what_breaks_when_the_image_of_fluent_bit_is_changed_for_ours_is_told(tmp_path: Path) -> None:
    """The configuration takes its variables from the manifest; none is set where the doctor is asked."""
    configuration, manifest = tmp_path / "fluent-bit.conf", tmp_path / "daemonset.yaml"
    configuration.write_text(
        TAIL.replace("name null", "name cloudwatch_logs\n    region ${AWS_REGION}\n    log_group_name ${GROUP}")
        .replace("/var/lib", "${STATE_FOLDER}")
        .replace("match *", "match *\n    log_stream_name ${HOST_NAME}")
    )
    known = "{name: AWS_REGION, valueFrom: {configMapKeyRef: {name: info, key: region}}}"
    of_node = "{name: HOST_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}"
    env = f"env: [{known}, {of_node}, {{name: STATE_FOLDER, value: /var/lib}}, {{name: GROUP, value: g}}]"
    manifest.write_text(
        "kind: ConfigMap\nmetadata: {name: info}\ndata: {region: eu-west-1}\n---"
        + DAEMON_SET.replace("PERIOD", "").replace("shipper:1.0", f"fluent-bit:3.0\n          {env}")
    )
    before = doctor("-c", configuration, manifest)
    drops = "securityContext: {capabilities: {drop: [ALL]}}"
    manifest.write_text(manifest.read_text().replace("env:", f"{drops}\n          env:"))
    status, told = doctor("-c", configuration, manifest)

    assert before == (0, "nothing to complain about\n")
    assert status == 1
    assert "user 10001 without DAC_READ_SEARCH cannot read log files of the host that are root's" in told
    assert "DAC_OVERRIDE cannot write to it: DB of tail.0" in told
    assert told.endswith("\n2 warnings\n")


def test_a_variable_of_a_config_map_that_the_doctor_was_not_given_is_told(tmp_path: Path) -> None:
    configuration, manifest = tmp_path / "fluent-bit.conf", tmp_path / "daemonset.yaml"
    configuration.write_text(f"[SERVICE]\n    http_port ${{HTTP_PORT}}\n{TAIL}")
    env = "env: [{name: HTTP_PORT, valueFrom: {configMapKeyRef: {name: info, key: port}}}]"
    manifest.write_text(DAEMON_SET.replace("PERIOD", "").replace(":1.0", f":1.0\n          {env}"))

    status, told = doctor("-c", configuration, manifest)

    assert status == 1
    assert "unknown: HTTP_PORT of the ConfigMap 'info', which none of the files has - name its file too" in told


def test_a2_doctor_tells_provider_principal_expiry_and_what_is_allowed(tmp_path: Path, moto_url: str) -> None:
    """With a role for the pod, as EKS gives it; the token is never printed."""
    token, configuration = tmp_path / "token", tmp_path / "shipper.conf"
    token.write_text(_token())
    configuration.write_text(
        "[INPUT]\n    name dummy\n[OUTPUT]\n    name cloudwatch_logs\n    match *\n    region us-east-1\n"
        f"    log_group_name app\n    log_stream_name s\n    auto_create_group on\n    endpoint {moto_url}\n"
        f"    sts_endpoint {moto_url}\n"
    )
    variables = {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/pod",
        "AWS_ROLE_SESSION_NAME": "node-1",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ENDPOINT_URL_STS": moto_url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    status, told = doctor("aws", "-c", configuration, variables=variables)
    title, credentials, expiry, *rest = told.splitlines()

    assert (status, title) == (0, f"{configuration}:3: output cloudwatch_logs.0")
    assert credentials.startswith("  credentials: assume-role-with-web-identity (token file")
    assert expiry.startswith("  expiry:      20")
    assert rest == [
        "  principal:   arn:aws:sts::123456789012:assumed-role/pod/node-1 (account 123456789012)",
        "  allowed   logs:PutLogEvents on log stream s of log group app",
        "  not tried logs:CreateLogGroup on log group app: that would create it",
        "  allowed   logs:CreateLogStream on log stream s of log group app",
        "nothing to complain about",
    ]
    assert token.read_text() not in told


def test_a2_doctor_names_the_token_file_that_cannot_be_read(tmp_path: Path) -> None:
    configuration = tmp_path / "shipper.conf"
    configuration.write_text(
        "[INPUT]\n    name dummy\n[OUTPUT]\n    name s3\n    match *\n    bucket logs\n    region us-east-1\n"
    )
    variables = {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/pod",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    status, told = doctor("aws", "-c", configuration, variables=variables)

    assert status == 1
    assert f"{tmp_path}/token: No such file or directory" in told
    assert "Traceback" not in told


def _token() -> str:
    """A token of the kind that Kubernetes puts into a pod, unsigned."""
    parts = ({"alg": "none"}, {"sub": "system:serviceaccount:logging:shipper"})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + ".x"
