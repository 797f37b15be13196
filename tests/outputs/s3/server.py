"""A small S3 on the loopback that holds every call to the rules of the real one, and fails when it is told to."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import itertools
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import cramjam
import msgspec
import pytest

PART_LEAST = 5_242_880


class Fault(msgspec.Struct):
    """What happens to one call: an answer instead of the call, or with `done` behind it; `cut` gives no answer."""

    status: int = 503
    body: bytes = b"<Error><Code>SlowDown</Code><Message>slow</Message></Error>"
    done: bool = False
    cut: bool = False
    headers: dict[str, str] = {}


class Call(msgspec.Struct):
    """One request: operation, key, headers by name in lower case, body."""

    operation: str
    key: str
    headers: dict[str, str]
    body: bytes


class Stored(msgspec.Struct):
    """An object: its bytes and the headers it came with."""

    data: bytes
    headers: dict[str, str]
    etag: str
    parts: int = 0

    @property
    def text(self) -> str:
        """What a reader sees who obeys Content-Encoding."""
        decode: dict[str, Any] = {
            "gzip": gzip.decompress,
            "zstd": lambda data: bytes(cramjam.zstd.decompress(data)),
            "snappy": lambda data: bytes(cramjam.snappy.decompress(data)),
        }
        encoding = self.headers.get("content-encoding")
        return (decode[encoding](self.data) if encoding else self.data).decode()


class _Upload(msgspec.Struct):
    key: str
    headers: dict[str, str]
    parts: dict[int, bytes]


class SmallS3:
    """All buckets as one. `wrong` collects every breach of a rule."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, _Upload] = {}
        self.calls: list[Call] = []
        self.wrong: list[str] = []
        self.url = ""
        self._faults: dict[str, deque[Fault]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def fail(self, operation: str, *faults: Fault) -> None:
        """Let the next calls of this operation fail."""
        self._faults.setdefault(operation, deque()).extend(faults)

    def heal(self) -> None:
        """Let no call fail from now on."""
        self._faults.clear()

    def operations(self) -> list[str]:
        return [call.operation for call in self.calls]

    def lines(self) -> list[str]:
        """The lines of all objects."""
        return [line for stored in list(self.objects.values()) for line in stored.text.splitlines()]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[Fault | None, Any]:
        """The fault to show, and what a healthy service answers: status, headers, body."""
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        key = unquote(parts.path).partition("/")[2].partition("/")[2]
        with self._lock:
            operation = _operation(method, query)
            self.calls.append(Call(operation, key, headers, body))
            if hashlib.sha256(body).hexdigest() != headers.get("x-amz-content-sha256"):
                self.wrong.append(f"{operation} {key}: the hash is not that of the body")
            script = self._faults.get(operation)
            fault = script.popleft() if script else None
            if fault is not None and not fault.done:
                return fault, None
            return fault, getattr(self, f"_{operation}")(key, query, headers, body)

    def _PutObject(self, key: str, query: Any, headers: dict[str, str], body: bytes) -> Any:
        if headers.get("if-none-match") == "*" and key in self.objects:
            return _error(412, "PreconditionFailed")
        if key in self.objects and self.objects[key].data != body:
            self.wrong.append(f"{key} was written over with other content")
        etag = hashlib.md5(body).hexdigest()
        self.objects[key] = Stored(body, headers, etag)
        return 200, {"ETag": f'"{etag}"'}, b""

    def _CreateMultipartUpload(self, key: str, query: Any, headers: dict[str, str], body: bytes) -> Any:
        upload_id = f"upload-{next(self._numbers)}"
        self.uploads[upload_id] = _Upload(key, headers, {})
        text = f"<InitiateMultipartUploadResult><UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
        return 200, {}, text.encode()

    def _UploadPart(self, key: str, query: Any, headers: dict[str, str], body: bytes) -> Any:
        upload = self.uploads.get(query["uploadId"])
        if upload is None or upload.key != key:
            return _error(404, "NoSuchUpload")
        upload.parts[int(query["partNumber"])] = body
        return 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""

    def _CompleteMultipartUpload(self, key: str, query: Any, headers: dict[str, str], body: bytes) -> Any:
        upload = self.uploads.get(query["uploadId"])
        if upload is None:
            return _error(404, "NoSuchUpload")
        if headers.get("if-none-match") == "*" and key in self.objects:
            return _error(412, "PreconditionFailed")
        numbers = sorted(upload.parts)
        parts = [upload.parts[number] for number in numbers]
        if numbers != list(range(1, len(parts) + 1)) or body.count(b"<PartNumber>") != len(parts):
            return _error(400, "InvalidPart")
        if any(len(part) < PART_LEAST for part in parts[:-1]):
            self.wrong.append(f"{key}: a part is too small")
        del self.uploads[query["uploadId"]]
        digests = b"".join(hashlib.md5(part).digest() for part in parts)
        etag = f"{hashlib.md5(digests).hexdigest()}-{len(parts)}"
        if key in self.objects:
            self.wrong.append(f"{key} was written over")
        self.objects[key] = Stored(b"".join(parts), upload.headers, etag, len(parts))
        return 200, {}, b"<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>"

    def _AbortMultipartUpload(self, key: str, query: Any, headers: dict[str, str], body: bytes) -> Any:
        return (204, {}, b"") if self.uploads.pop(query["uploadId"], None) else _error(404, "NoSuchUpload")

    def _ListMultipartUploads(self, key: str, query: Any, headers: dict[str, str], body: bytes) -> Any:
        found = "".join(
            f"<Upload><Key>{upload.key}</Key><UploadId>{upload_id}</UploadId></Upload>"
            for upload_id, upload in self.uploads.items()
            if upload.key.startswith(query["prefix"])
        )
        return 200, {}, f"<ListMultipartUploadsResult>{found}</ListMultipartUploadsResult>".encode()

    def _HeadObject(self, key: str, query: Any, headers: dict[str, str], body: bytes) -> Any:
        stored = self.objects.get(key)
        if stored is None:
            return 404, {}, b""
        return 200, {"ETag": f'"{stored.etag}"', "Content-Length": str(len(stored.data))}, b""


def _operation(method: str, query: dict[str, str]) -> str:
    if "uploads" in query:
        return "CreateMultipartUpload" if method == "POST" else "ListMultipartUploads"
    if "uploadId" in query:
        return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}[method]
    return {"PUT": "PutObject", "HEAD": "HeadObject"}[method]


def _error(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, {}, f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: ClassVar[SmallS3]

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:  # whoever sent it was killed
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault, found = self.s3.answer(self.command, self.path, headers, body)
        if fault is not None and fault.cut:
            self.close_connection = True
            return
        status, more, text = (fault.status, fault.headers, fault.body) if fault is not None else found
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(text)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests read what arrived, not what is printed."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()


@pytest.fixture
def s3() -> Iterator[SmallS3]:
    """A service that runs as long as the test."""
    small = SmallS3()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"s3": small}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    small.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield small
    server.shutdown()
    server.server_close()
    thread.join()
    assert small.wrong == []
