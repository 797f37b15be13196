"""Questions to the API server, the kubelet, and the folder of prepared answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import msgspec

from ...context import Context
from ...errors import OptionError
from ...kubernetes.token import NoToken, Token
from ...net.http import HttpClient
from ...net.settings import HttpAnswer, HttpSettings, NoAnswer, TlsSettings
from .names import Names, is_kubernetes_name
from .objects import Namespace, Pod, PodList
from .options import KubernetesOptions

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
_REMARK_EVERY_S = 60.0
_LONGEST_ANSWER = 128 << 20
_MOST_REQUESTS = 8
_LIST_IS_NEW_S = 1.0
"""How old the kubelet's list may be to answer for another pod; many pods that appear at once cost few requests."""

T = TypeVar("T")


class NoMetadata(Exception):
    """There is no metadata now.

    `is_away` says that nobody answered, so that others need not wait for the same, and `is_passing` that there should
    soon be some.
    """

    def __init__(self, reason: str, *, is_away: bool = False, is_passing: bool = False) -> None:
        super().__init__(reason)
        self.is_away = is_away
        self.is_passing = is_passing or is_away


class Server:
    """One server that is asked with the token; the connection is made when it is first needed.

    `token_place` is what the user knows the token by.
    """

    def __init__(
        self, what: str, settings: HttpSettings, limit: int, token: Token, token_place: str, context: Context
    ) -> None:
        self._what = what
        self._settings = settings
        self._limit = limit
        self._token = token
        self._token_place = token_place
        self._context = context
        self._client: HttpClient | None = None
        self._failed = context.counter("metadata_requests_failed_total", server=what)
        self._requests = context.counter("metadata_requests_total", server=what)

    async def get(self, target: str, kind: type[T]) -> T:
        """Ask for an object; raises `NoMetadata`. A refused token is read again, and then used once more."""
        try:
            answer = await self._answer(target)
            return self._read(answer, kind)
        except NoMetadata:
            self._failed.add()
            raise

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _answer(self, target: str) -> HttpAnswer:
        answer, token = await self._asked(target)
        if answer.status == 401:
            self._token.doubt(token)
            answer, _ = await self._asked(target)
        return answer

    async def _asked(self, target: str) -> tuple[HttpAnswer, str]:
        try:
            token = await self._token.text()
            client = await self._opened()
            self._requests.add()
            headers = {"User-Agent": "Fluent-Bit", "Authorization": f"Bearer {token}"}
            return await client.request("GET", target, headers), token
        except NoToken as error:
            self._context.log.warning(
                f"{self._token_place} gives no token, and without one no metadata is asked for; it is read again",
                every=_REMARK_EVERY_S,
                reason=error,
            )
            raise NoMetadata("no token") from error
        except OptionError as error:
            self._context.log.error("no TLS connection is possible", every=_REMARK_EVERY_S, reason=error)
            raise NoMetadata(f"no TLS: {error}") from error
        except NoAnswer as error:
            raise NoMetadata(f"the {self._what} does not answer: {error.reason}", is_away=True) from error

    async def _opened(self) -> HttpClient:
        if self._client is None:
            client = HttpClient(self._settings, self._context.clock, self._context.log)
            await client.open()
            self._client = client
        return self._client

    def _read(self, answer: HttpAnswer, kind: type[T]) -> T:
        if answer.status != 200:
            is_away = answer.status == 429 or answer.status >= 500
            raise NoMetadata(f"the {self._what} answers with status {answer.status}", is_away=is_away)
        if len(answer.body) > self._limit:
            self._context.log.error(
                "an answer is longer than buffer_size and is not used; set Buffer_Size 0 to allow any size",
                every=_REMARK_EVERY_S,
                server=self._what,
                buffer_size=self._limit,
            )
            raise NoMetadata("the answer is longer than buffer_size")
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NoMetadata(f"the answer of the {self._what} cannot be read: {error}") from error


class KubernetesApi:
    """Where pods and namespaces are asked for."""

    def __init__(self, options: KubernetesOptions, token: Token, context: Context) -> None:
        self._options = options
        self._clock = context.clock
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
        self._list: PodList | None = None
        self._listed_at = float("-inf")
        self._listing = asyncio.Lock()

    async def pod(self, names: Names) -> Pod:
        """The pod; raises `NoMetadata`."""
        if not names.is_pod:
            raise NoMetadata("the names are not those of a pod")
        if prepared := self._prepared(f"{names.namespace_name}_{names.pod_name}.meta"):
            return _decoded(prepared, PodList).find(*_key(names)) or _decoded(prepared, Pod)
        if self._options.use_kubelet:
            found = (await self.pods()).find(*_key(names))
            if found is None:
                raise NoMetadata("the kubelet's list does not have the pod", is_passing=True)
            return found
        return await self._api.get(f"/api/v1/namespaces/{names.namespace_name}/pods/{names.pod_name}", Pod)

    async def pods(self) -> PodList:
        """All pods of the kubelet, at most a second old; raises `NoMetadata`."""
        async with self._listing:
            if self._list is None or self._clock.monotonic() - self._listed_at > _LIST_IS_NEW_S:
                self._list = None
                self._list = await self._kubelet.get("/pods", PodList)
                self._listed_at = self._clock.monotonic()
            return self._list

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


def _key(names: Names) -> tuple[str, str, str]:
    return names.namespace_name, names.pod_name, names.pod_uid


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
