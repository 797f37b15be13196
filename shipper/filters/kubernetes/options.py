"""The options of the kubernetes filter."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ...config.options import opt
from ...config.units import ByteSize, Seconds
from ...kubernetes.url import KubeUrl
from ..base import FilterOptions

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_AGENT = "/etc/amazon-cloudwatch-observability-agent"


class KubernetesOptions(FilterOptions):
    """Options of the kubernetes filter."""

    buffer_size: Annotated[ByteSize, opt("Longest answer of API server or kubelet; 0 is without limit.")] = ByteSize(
        32_000
    )
    kube_url: Annotated[KubeUrl, opt("API server.", example="https://kubernetes.default.svc:443")] = KubeUrl.parse(
        "https://kubernetes.default.svc"
    )
    kube_ca_file: Annotated[str, opt("CA certificates for API server and kubelet.")] = f"{_ACCOUNT}/ca.crt"
    kube_ca_path: Annotated[str | None, opt("Folder with CA certificates.")] = None
    kube_token_file: Annotated[str, opt("File with the bearer token.")] = f"{_ACCOUNT}/token"
    kube_token_command: Annotated[
        str | None, opt("Shell command that prints the token; replaces the file.", secret=True)
    ] = None
    kube_token_ttl: Annotated[Seconds, opt("Age at which the token is read again.")] = Seconds(600)
    kube_namespace_file: Annotated[str, opt("File with the own namespace.")] = f"{_ACCOUNT}/namespace"
    kube_tag_prefix: Annotated[
        str, opt("What stands before the file name in tags; only its length counts.", example="application.")
    ] = "kube.var.log.containers."
    merge_log: Annotated[bool, opt("Parse the field `log` and add its fields to the record.")] = False
    merge_log_key: Annotated[str | None, opt("Put merged fields into a map of this name.", example="log_processed")] = (
        None
    )
    merge_log_trim: Annotated[bool, opt("Cut line ends of merged texts.")] = True
    merge_parser: Annotated[str | None, opt("Parser for `log`; the default is JSON.", example="nginx")] = None
    keep_log: Annotated[bool, opt("Keep `log` after it was merged.")] = True
    tls_debug: Annotated[int, opt("Accepted and without effect.")] = msgspec.field(default=0, name="tls.debug")
    tls_verify: Annotated[bool, opt("Check the certificate of API server and kubelet.")] = msgspec.field(
        default=True, name="tls.verify"
    )
    tls_vhost: Annotated[str | None, opt("Host name for TLS, instead of that of the URL.")] = msgspec.field(
        default=None, name="tls.vhost"
    )
    tls_verify_hostname: Annotated[bool, opt("Check that the certificate is for the host.")] = msgspec.field(
        default=False, name="tls.verify_hostname"
    )
    use_journal: Annotated[bool, opt("Records are of the journal: use their CONTAINER_NAME instead of the tag.")] = (
        False
    )
    regex_parser: Annotated[
        str | None,
        opt(
            "Regex parser that replaces the built-in expression for tags. Its groups are pod_name, namespace_name,"
            " container_name, docker_id, container_hash, and pod_uid, by which a pod is told from others of its name."
        ),
    ] = None
    k8s_logging_parser: Annotated[bool, opt("Obey fluentbit.io/parser annotations.")] = msgspec.field(
        default=False, name="k8s-logging.parser"
    )
    k8s_logging_exclude: Annotated[bool, opt("Obey fluentbit.io/exclude annotations.")] = msgspec.field(
        default=False, name="k8s-logging.exclude"
    )
    labels: Annotated[bool, opt("Add the labels of the pod.")] = True
    annotations: Annotated[bool, opt("Add the annotations of the pod.")] = True
    owner_references: Annotated[bool, opt("Add the owners of the pod.")] = False
    namespace_labels: Annotated[bool, opt("Add the labels of the namespace.")] = False
    namespace_annotations: Annotated[bool, opt("Add the annotations of the namespace.")] = False
    namespace_metadata_only: Annotated[bool, opt("Never ask for pods, only for namespaces.")] = False
    kube_meta_preload_cache_dir: Annotated[str | None, opt("Folder with metadata as files, looked at first.")] = None
    dummy_meta: Annotated[bool, opt("Add a map that says only that it is one; asks nobody.")] = False
    dns_retries: Annotated[int, opt("Attempts to look up the API server at the start.")] = 6
    dns_wait_time: Annotated[Seconds, opt("Time between these attempts.")] = Seconds(30)
    cache_use_docker_id: Annotated[bool, opt("Accepted; the id of the container always counts.")] = False
    use_tag_for_meta: Annotated[bool, opt("Use only what the tag tells; asks nobody.")] = False
    use_kubelet: Annotated[bool, opt("Ask the kubelet for pods instead of the API server.")] = False
    kubelet_host: Annotated[str, opt("Host of the kubelet.", example="${NODE_IP}")] = "127.0.0.1"
    kubelet_port: Annotated[int, opt("Port of the kubelet.")] = 10250
    kube_meta_cache_ttl: Annotated[Seconds, opt("Age at which pods are asked for again; 0 is never.")] = Seconds(0)
    kube_meta_namespace_cache_ttl: Annotated[
        Seconds, opt("Age at which namespaces are asked for again; 0 is never.")
    ] = Seconds(900)
    aws_use_pod_association: Annotated[
        bool, opt("Add the service that a pod belongs to.", aliases=("use_pod_association",))
    ] = False
    aws_pod_association_host: Annotated[str, opt("Host that knows the services of pods.")] = (
        "cloudwatch-agent.amazon-cloudwatch"
    )
    aws_pod_association_endpoint: Annotated[str, opt("Path of the request for them.")] = (
        "/kubernetes/pod-to-service-env-map"
    )
    aws_pod_association_port: Annotated[int, opt("Port of that host.")] = 4311
    aws_pod_service_map_ttl: Annotated[int, opt("Seconds after which a service is forgotten; 0 is never.")] = 0
    aws_pod_service_map_refresh_interval: Annotated[int, opt("Seconds between requests for services.")] = 60
    aws_pod_service_preload_cache_dir: Annotated[
        str | None, opt("File, without its ending .map, that is read instead of a request.")
    ] = None
    aws_pod_association_host_server_ca_file: Annotated[str, opt("CA certificates for that host.")] = (
        f"{_AGENT}-server-cert/tls-ca.crt"
    )
    aws_pod_association_host_client_cert_file: Annotated[str, opt("Own certificate for that host.")] = (
        f"{_AGENT}-client-cert/client.crt"
    )
    aws_pod_association_host_client_key_file: Annotated[str, opt("Key of the own certificate.")] = (
        f"{_AGENT}-client-cert/client.key"
    )
    aws_pod_association_host_tls_debug: Annotated[int, opt("Accepted and without effect.")] = 0
    aws_pod_association_host_tls_verify: Annotated[bool, opt("Check the certificate of that host.")] = True
    set_platform: Annotated[Literal["k8s", "eks"] | None, opt("Platform to tell, instead of the detected one.")] = None
