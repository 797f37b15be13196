"""The receiver's side of the handshake: both ends prove that they know the shared key, and users their passwords.

HELO brings two salts, PING the sender's proofs, PONG the answer and our own proof.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from ...codecs import msgpack_events, msgpack_stream
from .splitting import BadMessage

_SALT_BYTES = 16


class Handshake:
    """One handshake with one sender; passwords are asked for if there are users."""

    def __init__(self, shared_key: str, hostname: str, users: Mapping[str, str]) -> None:
        self._key = shared_key.encode()
        self._hostname = hostname
        self._users = users
        self._nonce = secrets.token_bytes(_SALT_BYTES)
        self._auth = secrets.token_bytes(_SALT_BYTES)

    def helo(self) -> bytes:
        """What the receiver begins with."""
        return msgpack_events.encode(["HELO", {"nonce": self._nonce, "auth": self._auth}])

    def answer(self, message: bytes) -> tuple[bytes, str]:
        """The PONG for a PING, and why the sender is not let in; nothing if it is. Raises `BadMessage`."""
        hostname, salt, digest, user, password_digest = _ping(message)
        reason = ""
        if not hmac.compare_digest(_digest(salt, hostname, self._nonce, self._key).encode(), digest):
            reason = "shared_key mismatch"
        elif self._users and not self._knows(user, password_digest):
            reason = "username/password mismatch"
        if reason:
            return msgpack_events.encode(["PONG", False, reason, "", ""]), reason
        proof = _digest(salt, self._hostname.encode(), self._nonce, self._key)
        return msgpack_events.encode(["PONG", True, "", self._hostname, proof]), ""

    def _knows(self, user: bytes, digest: bytes) -> bool:
        password = self._users.get(user.decode("utf-8", "replace"))
        wanted = _digest(self._auth, user, (password or "").encode())
        return hmac.compare_digest(wanted.encode(), digest) and password is not None


def _ping(message: bytes) -> list[bytes]:
    try:
        found: list[Any] = msgpack_stream.ValueReader().feed(message)
    except msgpack_stream.BadMessage as error:
        raise BadMessage(str(error)) from error
    ping = found[0] if found else None
    if not isinstance(ping, list) or len(ping) != 6 or ping[0] != b"PING":
        raise BadMessage("a sender does not answer HELO with PING; has it a shared key?")
    if not all(isinstance(part, bytes) for part in ping):
        raise BadMessage("the PING of a sender cannot be read")
    return ping[1:]


def _digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()
