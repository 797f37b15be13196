"""All that can be known of a container: from its names, the API, the kubelet, and the agent that knows services."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

import msgspec

from ...context import Context
from ...kubernetes.token import NoToken, Token
from ..patience import Patience
from .annotations import AnnotationReader, Wishes
from .api import KubernetesApi
from .belonging import Belonging
from .lookups import PATIENCE_S, Answer, Lookups
from .maps import MapMaker
from .merging import KUBERNETES, NAMESPACE
from .names import Names
from .objects import Pod
from .options import KubernetesOptions
from .server import NoMetadata
from .services import Service, ServiceMap, platform_of

_REMARK_EVERY_S = 60.0
_MOST_NAMED = 10_000


class _Container(msgspec.Struct):
    """What is remembered of a container: its encoded map, made with this service, and what its annotations ask for.

    The pod is kept only where a service may change the map. Where the pod is not known there are only the names.
    """

    map: msgspec.Raw
    wishes: Wishes = msgspec.field(default_factory=Wishes)
    service: Service | None = None
    pod: Pod | None = None
    is_known: bool = True


class Sources:
    """Answers what is known of containers, without waiting; `ready` is where one waits."""

    def __init__(self, options: KubernetesOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        clock = context.clock
        self._token = Token(
            options.kube_token_file, options.kube_token_command, float(options.kube_token_ttl), clock, context.log
        )
        self._api = KubernetesApi(options, self._token, context)
        self._maps = MapMaker(options)
        self._annotations = AnnotationReader(
            context.parsers,
            may_parse=options.k8s_logging_parser,
            may_exclude=options.k8s_logging_exclude,
            remark=self._remark_annotation,
        )
        self._services = ServiceMap(options, context) if options.aws_use_pod_association else None
        self._asks_nobody = options.use_tag_for_meta or options.dummy_meta
        self._asks_for_pods = not options.namespace_metadata_only and not self._asks_nobody
        self._asks_for_namespaces = (
            options.namespace_labels or options.namespace_annotations
        ) and not self._asks_nobody
        patience = Patience(PATIENCE_S, clock)
        self._containers: Lookups[Names, _Container] = Lookups(
            "pod", self._container, float(options.kube_meta_cache_ttl), patience, clock, context.log
        )
        self._namespaces: Lookups[str, msgspec.Raw] = Lookups(
            "namespace", self._namespace, float(options.kube_meta_namespace_cache_ttl), patience, clock, context.log
        )
        self.own: Names | None = None
        """The names of the pod that we run in, None outside of one; known from `open` on."""
        self._named: dict[Names, msgspec.Raw] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin what goes on in the background until `close`."""
        self.own = _own_pod(self._options.kube_namespace_file)
        if self._options.dummy_meta:
            self._log.warning("using Dummy Metadata")
        elif self._options.use_tag_for_meta:
            self._log.info("no network access required (OK)")
        else:
            self._begin(self._check())
            if self._services is not None:
                self._begin(self._services.run())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._containers.close()
        await self._namespaces.close()
        await self._api.close()

    async def ready(self, wanted: Iterable[Names]) -> None:
        """Ask for what is needed and not known, all of it at the same time; waits while `Patience` lasts."""
        waits: list[Coroutine[Any, Any, None]] = []
        for names in wanted:
            namespace = names.namespace_name
            if self._asks_for_pods and names.pod_name and namespace and self._containers.is_due(names):
                waits.append(self._containers.ready(names))
            if self._asks_for_namespaces and namespace and self._namespaces.is_due(namespace):
                waits.append(self._namespaces.ready(namespace))
        if waits:
            await asyncio.gather(*waits)

    def known(self, names: Names) -> tuple[dict[str, msgspec.Raw], Wishes, bool]:
        """The maps to add, what the annotations ask for, and whether that is all there should be."""
        added: dict[str, msgspec.Raw] = {}
        wishes, is_complete = Wishes(), True
        if self._asks_nobody:
            added[KUBERNETES] = self._of_names(names)
        elif self._asks_for_pods:
            container = self._containers.get(names)
            if container is not None:
                added[KUBERNETES], wishes = self._current(names, container).map, container.wishes
                is_complete = container.is_known
            else:
                is_complete = False
                if self._containers.is_expected(names):
                    added[KUBERNETES] = self._of_names(names)
        if self._asks_for_namespaces:
            namespace = self._namespaces.get(names.namespace_name)
            if namespace is not None:
                added[NAMESPACE] = namespace
            else:
                is_complete = False
        return added, wishes, is_complete

    def dummy(self, text: str) -> dict[str, msgspec.Raw]:
        """What Dummy_Meta adds."""
        return {KUBERNETES: self._maps.dummy(text)}

    def _of_names(self, names: Names) -> msgspec.Raw:
        found = self._named.get(names)
        if found is None:
            if len(self._named) >= _MOST_NAMED:
                self._named.clear()
            found = self._named[names] = self._maps.of_names(names)
        return found

    def _current(self, names: Names, container: _Container) -> _Container:
        """The container with its map made anew if its service is another one now."""
        if self._services is not None and container.pod is not None:
            service = self._services.of(names.pod_name)
            if service != container.service:
                container.service = service
                container.map = self._maps.of_pod(names, container.pod, service)
        return container

    async def _container(self, names: Names) -> Answer[_Container]:
        pod, belonging = await self._api.pod(names)
        if belonging == Belonging.DOUBTFUL:
            return Answer(_Container(self._of_names(names), is_known=False), is_certain=False, stands_in=True)
        service = self._services.of(names.pod_name) if self._services is not None else None
        annotations = (pod.metadata.annotations if pod.metadata is not None else None) or {}
        found = _Container(
            self._maps.of_pod(names, pod, service),
            self._annotations.read(annotations, names.container_name),
            service,
            pod if service is not None else None,
        )
        return Answer(found, is_certain=belonging == Belonging.CONTAINER)

    async def _namespace(self, name: str) -> Answer[msgspec.Raw]:
        return Answer(self._maps.of_namespace(name, await self._api.namespace(name)))

    async def _check(self) -> None:
        """Ask for the own pod and namespace, and tell whether that works."""
        options, own = self._options, self.own
        if own is None:
            self._log.warning(f"cannot open {options.kube_namespace_file}")
            self._log.info("not running in a pod")
            return
        for attempt in range(max(1, options.dns_retries)):
            if attempt:
                await self._context.clock.sleep(float(options.dns_wait_time))
            try:
                await self._ask_once(own)
            except NoMetadata as error:
                self._log.warning(f"could not get meta for POD {own.pod_name}", reason=error)
                if not error.is_away:
                    return
            else:
                self._log.info("connectivity OK")
                await self._detect_platform()
                return

    async def _ask_once(self, own: Names) -> None:
        if self._options.use_kubelet:
            await self._api.pods()
        else:
            await self._api.pod(own)
        if self._asks_for_namespaces:
            await self._api.namespace(own.namespace_name)

    async def _detect_platform(self) -> None:
        if self._services is not None and not self._services.platform:
            try:
                self._services.platform = platform_of(await self._token.text())
            except NoToken:
                self._services.platform = "k8s"

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _remark_annotation(self, message: str, annotation: str) -> None:
        self._log.warning(message, every=_REMARK_EVERY_S, annotation=annotation)


def _own_pod(namespace_file: str) -> Names | None:
    """The names of the own pod, None where there is no file with its namespace."""
    try:
        namespace = Path(namespace_file).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return Names(pod_name=os.environ.get("HOSTNAME") or socket.gethostname(), namespace_name=namespace)
