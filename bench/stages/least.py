"""The least that must be done for a record whose JSON line is merged and sent over TLS, whatever is done besides.

Decoding the line and encoding it once more is what `Merge_Log` asks for. The bodies have a thousand events each, of as
many bytes as an event has in the corpus without and with what the filter `kubernetes` adds.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from shipper.clock import SystemClock
from shipper.log import Log
from shipper.net.http import HttpClient
from shipper.net.settings import HttpSettings, TlsSettings

from ..nginx import NginxSink
from .material import cri_batches
from .measuring import Stage

_EVENTS = 1_000
_decode = msgspec.json.Decoder().decode
_encode_lines = msgspec.json.Encoder().encode_lines


def test_decode_and_encode(stage: Stage) -> None:
    texts = [body["log"] for batch in cri_batches("json") for body in batch.content.bodies()]

    made = stage.measure(lambda: _encode_lines(list(map(_decode, texts))), records=len(texts))

    assert made.count(b'"trace_id":"') == len(texts)


@pytest.mark.parametrize("size", [360, 930])
def test_hash_and_send(stage: Stage, tmp_path: Path, size: int) -> None:
    body = bytes(range(32, 127)) * (size * _EVENTS // 95)
    with NginxSink(tmp_path / "nginx") as sink:
        settings = HttpSettings(host="127.0.0.1", port=sink.tls_port, tls=TlsSettings(verify=False), use_proxy=False)
        client = HttpClient(settings, SystemClock(), Log(""))
        stage.wait(client.open())

        async def send() -> int:
            headers = {"X-Amz-Content-Sha256": hashlib.sha256(body).hexdigest(), "X-Amz-Target": "Logs.Put"}
            return (await client.request("POST", "/", headers, body)).status

        assert stage.measure(lambda: stage.wait(send()), records=_EVENTS) == 200
        stage.wait(client.close())
