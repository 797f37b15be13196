"""A stand-in for the API server and the kubelet over HTTPS: it serves objects to whoever has the token of the moment.

It misbehaves when told to: it refuses, answers late, or does not answer at all.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from .http_server import Got, HttpServer, Says

USUAL_TOKEN = "token-1"


class KubernetesStandIn:
    """Pods and namespaces by name; `token` is what requests must bring.

    `status` other than 200 is the answer to everything; every answer comes `delay_s` late; while `is_hanging` there is
    none, and requests are not even read.
    """

    def __init__(self, ca_file: Path) -> None:
        self.ca_file = ca_file
        self.token = USUAL_TOKEN
        self.pods: dict[tuple[str, str], dict[str, Any]] = {}
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.status = 200
        self.delay_s = 0.0
        self.is_hanging = asyncio.Event()
        self.server = HttpServer(self._judge)

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        """What was asked for, in order."""
        return [got.target for got in self.server.got]

    def add_pod(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        self.pods[meta["namespace"], meta["name"]] = pod

    def _judge(self, got: Got) -> Says:
        if got.headers.get("authorization") != f"Bearer {self.token}":
            return _status(401)
        if self.status != 200:
            return _status(self.status)
        found = self._object(got.target)
        return _status(404) if found is None else Says(body=msgspec.json.encode(found))

    def _object(self, target: str) -> Any:
        match target.strip("/").split("/"):
            case ["pods"]:
                return {"kind": "PodList", "items": list(self.pods.values())}
            case ["api", "v1", "namespaces", namespace, "pods", pod]:
                return self.pods.get((namespace, pod))
            case ["api", "v1", "namespaces", namespace]:
                return self.namespaces.get(namespace)
        return None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; one that hangs is read and never answered."""
        if self.is_hanging.is_set():
            while await reader.read(65536):
                pass
            writer.close()
            return
        await self.server.serve(reader, cast(asyncio.StreamWriter, _LateWriter(writer, self)))


class _LateWriter:
    """A writer that lets each answer wait as long as the stand-in says."""

    def __init__(self, writer: asyncio.StreamWriter, stand_in: KubernetesStandIn) -> None:
        self._writer = writer
        self._stand_in = stand_in
        self._answer = b""
        self.close = writer.close

    def write(self, answer: bytes) -> None:
        self._answer = answer

    async def drain(self) -> None:
        await asyncio.sleep(self._stand_in.delay_s)
        self._writer.write(self._answer)
        await self._writer.drain()


@asynccontextmanager
async def kubernetes_stand_in(port: int = 0) -> AsyncIterator[KubernetesStandIn]:
    """A stand-in that runs as long as the block, with a certificate that its `ca_file` vouches for."""
    certificate, key = certificate_and_key()
    stand_in = KubernetesStandIn(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    running = await asyncio.start_server(stand_in.serve, "127.0.0.1", port, ssl=context, limit=1 << 22)
    stand_in.server.port = running.sockets[0].getsockname()[1]
    try:
        yield stand_in
    finally:
        running.close()
        await running.wait_closed()


def pod(
    name: str = "web-1",
    namespace: str = "default",
    uid: str = "u-1",
    containers: tuple[str, ...] = ("app",),
    **metadata: Any,
) -> dict[str, Any]:
    """A running pod as the API tells it."""
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "uid": uid, **metadata},
        "spec": {"nodeName": "node-1"},
        "status": {"podIP": "10.0.0.9", "containerStatuses": [container_status(one) for one in containers]},
    }


def container_status(name: str, container_id: str = "a" * 64, image: str = "app:2") -> dict[str, Any]:
    """The status of a container."""
    return {
        "name": name,
        "image": image,
        "imageID": "reg/app@sha256:ccc",
        "containerID": f"containerd://{container_id}",
    }


def _status(code: int) -> Says:
    return Says(code, msgspec.json.encode({"kind": "Status", "code": code}))


@functools.cache
def certificate_and_key() -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key; made once in a process."""
    folder = Path(tempfile.mkdtemp(prefix="shipper-tests-"))
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
