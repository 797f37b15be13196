"""A kubernetes filter in front of a stand-in for the API, and short ways to ask it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from shipper.clock import SystemClock
from shipper.config.model import Kind
from shipper.context import Context
from shipper.filters.kubernetes import KubernetesFilter, KubernetesOptions
from shipper.parsers.base import ParserLibrary
from shipper.parsers.library import build_parsers
from shipper.record import Body, Content, Record, RecordBatch
from shipper.testing import context_of

from ...components.kubernetes import KubernetesStandIn
from ...written_options import options_from, section_of

ID = "a" * 64
TAG = f"kube.var.log.containers.web-1_default_app-{ID}.log"
TIME_NS = 1_700_000_000_000_000_000
K = {
    "pod_name": "web-1",
    "namespace_name": "default",
    "pod_id": "u-1",
    "host": "node-1",
    "pod_ip": "10.0.0.9",
    "container_name": "app",
    "docker_id": ID,
    "container_hash": "reg/app@sha256:ccc",
    "container_image": "app:2",
}
BARE = "Labels Off\nAnnotations Off"
PARSERS = (
    "Name timed\nFormat regex\nRegex ^\\[(?<time>[^\\]]+)\\] (?<message>.+)$\n"
    "Time_Key time\nTime_Format %Y-%m-%dT%H:%M:%S.%L",
    "Name words\nFormat regex\nRegex ^(?<first>\\w+) (?<second>\\w+)$",
    "Name path\nFormat regex\nRegex (?<namespace_name>[^_.]+)_(?<pod_name>[^_]+)_(?<container_name>.+)$",
    "Name j\nFormat json",
)


def parsers() -> ParserLibrary:
    kind: Kind = "parser"
    return ParserLibrary(build_parsers([section_of(text, kind) for text in PARSERS], [], lambda message: None))


def context(clock: Any = None, **more: Any) -> Context:
    return context_of("filter", "kubernetes.0", clock or SystemClock(), parsers=parsers(), **more)


def filter_of(lines: str, clock: Any = None, **more: Any) -> KubernetesFilter:
    return KubernetesFilter(options_from(KubernetesOptions, lines), context(clock, **more))


class Account:
    """The folder of a service account."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.set_token("token-1")

    def set_token(self, token: str) -> None:
        (self.folder / "token").write_text(token + "\n")

    def lines(self, api: KubernetesStandIn, more: str = "") -> str:
        """Options that lead to the stand-in."""
        given = (
            f"Kube_URL {api.url}",
            f"Kube_CA_File {api.ca_file}",
            f"Kube_Token_File {self.folder}/token",
            f"Kube_Namespace_File {self.folder}/namespace",
            f"Kubelet_Port {api.port}",
        )
        return "\n".join([*given, more.strip()])


@contextlib.asynccontextmanager
async def opened(lines: str, clock: Any = None, **more: Any) -> AsyncIterator[KubernetesFilter]:
    """The filter between `open` and `close`."""
    one = filter_of(lines, clock, **more)
    await one.open()
    try:
        yield one
    finally:
        await one.close()


def batch(*bodies: Body, tag: str = TAG) -> RecordBatch:
    return RecordBatch(tag, [Record(TIME_NS, dict(body)) for body in bodies], 100 * len(bodies))


async def through(one: KubernetesFilter, records: RecordBatch) -> list[Body]:
    """The bodies that come out, as an output would encode them."""
    await one.prepare(records)
    left = one.apply(records)
    return [plain(body) for body in left.content.bodies()] if left is not None else []


def plain(body: Any) -> Body:
    """A body as its JSON tells it; the order of the keys counts in comparisons with `ordered`."""
    decoded: Body = msgspec.json.decode(msgspec.json.encode(body))
    return decoded


def ordered(body: Body) -> list[tuple[str, Any]]:
    return list(body.items())


def lines_of(content: Content) -> bytes | None:
    return content.json_lines()
