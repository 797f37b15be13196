"""The set config/container-insights as a pod of a test has it mounted: as published, but for what a test must move."""

from __future__ import annotations

from pathlib import Path

from tests.components.kubernetes import USUAL_TOKEN, KubernetesStandIn

from .mounted import Replacements, host_paths, mounted

VARIABLES = {
    "AWS_REGION": "us-east-1",
    "HTTP_SERVER": "On",
    "HTTP_PORT": "0",
    "READ_FROM_HEAD": "On",
    "READ_FROM_TAIL": "Off",
    "HOST_NAME": "ip-10-0-1-23.ec2.internal",
    "HOSTNAME": "fluent-bit-x7k2p",
    "CI_VERSION": "k8s/1.3.37",
}
"""What the ConfigMap `fluent-bit-cluster-info` and the pod give, without the name of the cluster."""

APPLICATION_ALONE = (("@INCLUDE dataplane-log.conf\n", ""), ("@INCLUDE host-log.conf\n", ""))
"""Takes the other two parts away, as a user does who wants the logs of containers alone."""


def container_insights(
    folder: Path, root: Path, api: KubernetesStandIn, endpoint: str, more: Replacements = ()
) -> Path:
    """Mount the set for a node whose files are below `root`; gives the main file.

    Metadata come from the stand-in of a kubelet, and what is delivered goes to `endpoint`. `more` is replaced too.
    """
    (root / "var" / "fluent-bit" / "state").mkdir(parents=True)
    token = folder / "token"
    token.write_text(USUAL_TOKEN)
    kubelet = f"Kubelet_Port {api.port}\n    Kube_CA_File {api.ca_file}\n    Kube_Token_File {token}"
    replacements = [
        *host_paths(root),
        ("https://kubernetes.default.svc:443", api.url),
        ("auto_create_group   true", f"auto_create_group true\n    endpoint {endpoint}"),
        ("Kubelet_Port        10250", kubelet),
        *more,
    ]
    return mounted("container-insights", folder / "etc", replacements) / "fluent-bit.conf"
