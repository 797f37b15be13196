"""CloudWatch Logs as a test wants it: a server in a thread whose answers the test decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import msgspec

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_EC2_METADATA_DISABLED": "true"}


class Answer(msgspec.Struct, frozen=True):
    """What a request is answered with; an error has a code, and `body` are further members of the answer.

    Of a request that is answered with 200 the events `accepted` are kept.
    """

    status: int = 200
    code: str = ""
    message: str = ""
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    body: dict[str, Any] = {}
    accepted: slice = slice(None)


OK = Answer()

Decide = Callable[[str, dict[str, Any]], Answer]


class CloudWatch:
    """Takes what `decide` lets through; a context manager.

    While `gate` is not set it takes requests and does nothing. `attempts` has the time and the operation of each
    request, `messages` what was accepted, by stream, and `signed_with` the access key of the request that `decide` is
    asked about.
    """

    def __init__(self, decide: Decide = lambda operation, body: OK) -> None:
        self.decide = decide
        self.gate = threading.Event()
        self.gate.set()
        self.attempts: list[tuple[float, str]] = []
        self.messages: dict[str, list[str]] = {}
        self.accepted_at: list[tuple[float, int]] = []
        self.signed_with = ""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, operation: str, body: dict[str, Any], access_key: str) -> Answer:
        self.gate.wait()
        now = time.monotonic()
        with self._lock:
            self.signed_with = access_key
            self.attempts.append((now, operation))
            answer = self.decide(operation, body)
            if answer.status == 200 and operation == "PutLogEvents":
                events = [event["message"] for event in body["logEvents"][answer.accepted]]
                self.messages.setdefault(body["logStreamName"], []).extend(events)
                self.accepted_at.append((now, len(events)))
        time.sleep(answer.delay_s)
        return answer

    def all_messages(self) -> list[str]:
        with self._lock:
            return [message for messages in self.messages.values() for message in messages]

    def puts(self) -> list[float]:
        """When PutLogEvents was called."""
        with self._lock:
            return [when for when, operation in self.attempts if operation == "PutLogEvents"]

    def output(self, *lines: str) -> str:
        """A section that sends here, a stream for each tag."""
        fixed = (
            *("name cloudwatch_logs", "alias cw", "match *", "region us-east-1"),
            *(f"endpoint http://127.0.0.1:{self.port}", "log_group_name g", "log_stream_prefix s-"),
            *("auto_create_group on", "log_key log"),
        )
        return "\n".join(["[OUTPUT]", *(f"    {line}" for line in (*fixed, *lines)), ""])


def _handler_of(service: CloudWatch) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body go out apart, and each answer would wait 40 ms between them

        def do_POST(self) -> None:
            body = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            access_key = self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
            answer = service.take(operation, body, access_key)
            error = {} if answer.status == 200 else {"__type": answer.code, "message": answer.message}
            text = msgspec.json.encode({**error, **answer.body})
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/x-amz-json-1.1", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("x-amzn-RequestId", "00000000-0000-4000-8000-000000000000")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    return Handler
