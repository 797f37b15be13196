"""Questions to the API server, the kubelet, and the folder of prepared answers."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from ...context import Context
from ...kubernetes.token import Token
from ...net.settings import HttpSettings, TlsSettings
from .belonging import Belonging, belonging
from .listing import PodListing, best_of
from .names import Names, is_kubernetes_name
from .objects import Namespace, Pod, PodList
from .options import KubernetesOptions
from .server import NoMetadata, Server

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
_LONGEST_ANSWER = 128 << 20
_MOST_REQUESTS = 8

T = TypeVar("T")


class KubernetesApi:
    """Where pods and namespaces are asked for."""

    def __init__(self, options: KubernetesOptions, token: Token, context: Context) -> None:
        self._options = options
        self._folder = Path(options.kube_meta_preload_cache_dir) if options.kube_meta_preload_cache_dir else None
        limit = int(options.buffer_size) or _LONGEST_ANSWER
        url = options.kube_url
        place = "Kube_Token_Command" if options.kube_token_command else f"Kube_Token_File {options.kube_token_file}"
        api = _settings(options, url.host, url.port, url.is_tls, limit)
        self._api = Server("API server", api, limit, token, place, context)
        # With a folder of prepared answers the kubelet is asked without TLS, as in Fluent Bit.
        is_tls = self._folder is None
        kubelet = _settings(options, options.kubelet_host, options.kubelet_port, is_tls, limit)
        self._kubelet = Server("kubelet", kubelet, limit, token, place, context)
        self._listing = PodListing(self._list, context.clock)

    async def pod(self, names: Names) -> tuple[Pod, Belonging]:
        """The pod, and what it has to do with the names; raises `NoMetadata`.

        A prepared answer is what somebody wants for this name, so it is not doubted.
        """
        if not names.is_pod:
            raise NoMetadata("the names are not those of a pod")
        if prepared := self._prepared(f"{names.namespace_name}_{names.pod_name}.meta"):
            found = best_of(_decoded(prepared, PodList), names) or _decoded(prepared, Pod)
            return found, Belonging.CONTAINER
        if self._options.use_kubelet:
            found = await self._listing.pod(names)
        else:
            found = await self._api.get(f"/api/v1/namespaces/{names.namespace_name}/pods/{names.pod_name}", Pod)
        return found, belonging(names, found)

    async def pods(self) -> PodList:
        """All pods of the kubelet; raises `NoMetadata`."""
        return await self._listing.all()

    async def namespace(self, name: str) -> Namespace:
        """The namespace; raises `NoMetadata`."""
        if not is_kubernetes_name(name):
            raise NoMetadata("the name is not that of a namespace")
        if prepared := self._prepared(f"{name}.namespace_meta"):
            return _decoded(prepared, Namespace)
        return await self._api.get(f"/api/v1/namespaces/{name}", Namespace)

    async def close(self) -> None:
        await self._api.close()
        await self._kubelet.close()

    async def _list(self) -> PodList:
        return await self._kubelet.get("/pods", PodList)

    def _prepared(self, name: str) -> bytes | None:
        """A prepared answer that is JSON, None if there is no such file."""
        if self._folder is None:
            return None
        try:
            data = (self._folder / name).read_bytes()
            msgspec.json.decode(data)
        except (OSError, msgspec.DecodeError):
            return None
        return data


def _decoded(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise NoMetadata(f"the prepared answer cannot be read: {error}") from error


def _settings(options: KubernetesOptions, host: str, port: int, is_tls: bool, limit: int) -> HttpSettings:
    tls = TlsSettings(
        verify=options.tls_verify,
        verify_hostname=options.tls_verify_hostname,
        vhost=options.tls_vhost,
        ca_file=options.kube_ca_file,
        ca_path=options.kube_ca_path,
    )
    return HttpSettings(
        host=host.strip("[]"),
        port=port,
        tls=tls if is_tls else None,
        connect_timeout=CONNECT_TIMEOUT_S,
        io_timeout=ANSWER_TIMEOUT_S,
        connections=_MOST_REQUESTS,
        use_proxy=False,
        answer_limit=limit + 1,
    )
