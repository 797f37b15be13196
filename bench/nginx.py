"""A neutral sink: nginx on loopback that reads every request to its end and answers as the real services do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

# The listeners hand every request, without its body, to a server of their own: nginx then has to read the whole body
# before it answers, as a real service does. An answer from `return` alone would come before the body was read.
_CONFIGURATION = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    log_format traffic '$status $request_length $request_method';
    access_log {folder}/access.log traffic;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 200m;
    client_body_buffer_size 4m;
    keepalive_requests 1000000;
    keepalive_timeout 1h;
    upstream answers {{ server unix:{folder}/answers.sock; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{
            proxy_pass http://answers;
            proxy_http_version 1.1;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Connection "";
        }}
    }}
    server {{
        listen unix:{folder}/answers.sock;
        access_log off;
        location / {{
            default_type application/x-amz-json-1.1;
            add_header x-amzn-RequestId 00000000-0000-4000-8000-000000000000;
            add_header x-amz-request-id 0000000000000000;
            if ($http_x_amz_target) {{ return 200 '{{"nextSequenceToken":"1"}}'; }}
            if ($request_method = PUT) {{ return 200; }}
            return 204;
        }}
    }}
}}
"""


class Traffic(msgspec.Struct, frozen=True):
    """What the sink took: requests, their bytes, and requests it did not answer with a 2xx."""

    requests: int
    bytes: int
    failures: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NginxSink:
    """nginx with a plain and a TLS port, running while the context lasts; `traffic` is known after `stop`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.tls_port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if nginx is None:
            raise FileNotFoundError("nginx is not installed; 'make bench' installs it as root")
        self._folder.mkdir(parents=True)
        _write_certificate(self._folder)
        configuration = self._folder / "nginx.conf"
        # Started by root, the worker would change to a user that cannot enter a temporary folder.
        user = "user root;" if os.getuid() == 0 else ""
        configuration.write_text(
            _CONFIGURATION.format(user=user, folder=self._folder, port=self.port, tls_port=self.tls_port)
        )
        self._process = subprocess.Popen([nginx, "-p", str(self._folder), "-e", "error.log", "-c", str(configuration)])
        self._wait_until_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End nginx; it has then written down everything it took."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def traffic(self) -> Traffic:
        requests = size = failures = 0
        with (self._folder / "access.log").open() as log:
            for line in log:
                status, length, _ = line.split()
                requests += 1
                size += int(length)
                failures += not status.startswith("2")
        return Traffic(requests, size, failures)

    def _wait_until_open(self) -> None:
        limit = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.tls_port), timeout=1).close()
                return
            except ConnectionRefusedError:
                if time.monotonic() > limit or (self._process and self._process.poll() is not None):
                    raise
                time.sleep(0.02)


def _write_certificate(folder: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
