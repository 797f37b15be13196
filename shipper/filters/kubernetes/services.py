"""Which AWS service a pod belongs to, as the CloudWatch agent of the cluster knows it."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...context import Context
from ...errors import OptionError
from ...net.http import HttpClient
from ...net.settings import HttpSettings, NoAnswer, TlsSettings
from .options import KubernetesOptions

_REMARK_EVERY_S = 60.0
_LONGEST_ANSWER = 16 << 20
_LONGEST_NAME = 1023
_LONGEST_SOURCE = 63
_OF_REPLICA_SET = re.compile(r"(.+)-[bcdfghjklmnpqrstvwxz2456789]{6,10}")


class Entry(msgspec.Struct, frozen=True, rename="pascal"):
    """What is told of one pod."""

    service_name: Any = None
    environment: Any = None
    service_name_source: Any = None


class Service(msgspec.Struct, frozen=True):
    """What the map of a pod says of its service; None and empty texts are not known."""

    name: str = ""
    environment: str = ""
    source: str = ""
    platform: str = ""
    cluster: str = ""

    def members(self, pod_name: str, owners: Sequence[Any] | None) -> dict[str, Any]:
        """The members of the map, in their order."""
        found = {
            "service_name": self.name,
            "environment": self.environment,
            "name_source": self.source,
            "platform": self.platform,
            "cluster": self.cluster,
            "workload": _workload(pod_name, owners),
        }
        return {f"aws_entity_{key}": value for key, value in found.items() if value}


class ServiceMap:
    """The services of pods by name, asked for again and again by `run`; a failure leaves the last answer in place."""

    def __init__(self, options: KubernetesOptions, context: Context, variables: Mapping[str, str] = os.environ) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        self._cluster = variables.get("CLUSTER_NAME", "")
        self._services: dict[str, tuple[float, Service]] = {}
        self.platform: str = options.set_platform or ""
        """Where the cluster runs, once it is known."""

    def of(self, pod_name: str) -> Service:
        """What is known of the service of a pod now."""
        told_at, service = self._services.get(pod_name, (0.0, Service()))
        ttl = self._options.aws_pod_service_map_ttl
        if ttl > 0 and self._context.clock.monotonic() - told_at > ttl:
            service = Service()
        return msgspec.structs.replace(service, platform=self.platform, cluster=self._cluster)

    async def run(self) -> None:
        """Ask in every interval, until cancelled."""
        while True:
            try:
                body = await self._asked()
                self._take(body)
            except (NoAnswer, OptionError, OSError, ValueError) as error:
                self._log.warning("cannot learn the services of pods", every=_REMARK_EVERY_S, reason=error)
            await self._context.clock.sleep(max(1, self._options.aws_pod_service_map_refresh_interval))

    async def _asked(self) -> bytes:
        options = self._options
        if options.aws_pod_service_preload_cache_dir is not None:
            return Path(f"{options.aws_pod_service_preload_cache_dir}.map").read_bytes()
        tls = TlsSettings(
            verify=options.aws_pod_association_host_tls_verify,
            ca_file=options.aws_pod_association_host_server_ca_file,
            crt_file=options.aws_pod_association_host_client_cert_file,
            key_file=options.aws_pod_association_host_client_key_file,
        )
        settings = HttpSettings(
            host=options.aws_pod_association_host,
            port=options.aws_pod_association_port,
            tls=tls,
            io_timeout=10.0,
            keepalive=False,
            use_proxy=False,
            answer_limit=_LONGEST_ANSWER,
        )
        # A client for each request reads the certificates anew, which are renewed while we run.
        client = HttpClient(settings, self._context.clock, self._log)
        try:
            await client.open()
            answer = await client.request("GET", options.aws_pod_association_endpoint)
        finally:
            await client.close()
        if answer.status != 200:
            raise ValueError(f"the answer has status {answer.status}")
        return answer.body

    def _take(self, body: bytes) -> None:
        now = self._context.clock.monotonic()
        for pod_name, entry in msgspec.json.decode(body, type=dict[str, Entry]).items():
            name, environment = _short(entry.service_name, _LONGEST_NAME), _short(entry.environment, _LONGEST_NAME)
            if name or environment:
                source = _short(entry.service_name_source, _LONGEST_SOURCE)
                self._services[pod_name] = (now, Service(name, environment, source))
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Let go of what was not told again for a day."""
        oldest = now - max(86_400.0, float(self._options.aws_pod_service_map_ttl))
        self._services = {pod: told for pod, told in self._services.items() if told[0] >= oldest}


def platform_of(token: str) -> str:
    """eks if the service account's token was issued by EKS, otherwise k8s."""
    parts = token.split(".")
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        issuer = claims["iss"]
    except (IndexError, KeyError, TypeError, binascii.Error, msgspec.DecodeError, ValueError):
        return "k8s"
    return "eks" if isinstance(issuer, str) and "oidc.eks." in issuer else "k8s"


def _workload(pod_name: str, owners: Sequence[Any] | None) -> str:
    """The owner of the pod; of a ReplicaSet, the Deployment that its name tells."""
    owner = owners[0] if owners else None
    if not isinstance(owner, dict) or not isinstance(name := owner.get("name"), str):
        return pod_name
    if owner.get("kind") == "ReplicaSet" and (found := _OF_REPLICA_SET.fullmatch(name)):
        return found[1]
    return name


def _short(text: object, longest: int) -> str:
    return text if isinstance(text, str) and len(text.encode("utf-8", "replace")) <= longest else ""


__all__ = ["Service", "ServiceMap", "platform_of"]
