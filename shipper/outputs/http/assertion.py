"""Signed statements of who we are, in place of a secret (RFC 7523): `private_key_jwt`.

A statement is good for one request for a token. Key and certificate are read again for each, so that a renewed pair is
used as soon as it is there.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
import uuid
from importlib.util import find_spec
from pathlib import Path

import msgspec

from ...errors import OptionError

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_PEM = b"-----BEGIN CERTIFICATE-----"
_PEM_END = b"-----END CERTIFICATE-----"


class AssertionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who states what to whom, and with which key; `header` names the member that tells the certificate."""

    client_id: str
    audience: str
    key_file: str
    certificate_file: str
    header: str = "kid"
    life_s: int = 300


class AssertionMaker:
    """Makes statements. `check` first: it says what the configuration must mend."""

    def __init__(self, settings: AssertionSettings) -> None:
        self._settings = settings

    def check(self) -> None:
        """Raise `OptionError` if the library is missing, or a file cannot be used."""
        if find_spec("jwt") is None or find_spec("cryptography") is None:
            raise OptionError(
                "oauth2.auth_method", "private_key_jwt needs PyJWT and cryptography", "pip install 'shipper[oauth2]'"
            )
        for option, file in (
            ("oauth2.jwt_key_file", self._settings.key_file),
            ("oauth2.jwt_cert_file", self._settings.certificate_file),
        ):
            if not Path(file).is_file():
                raise OptionError(option, f"{file} is not a file")
        try:
            self._fingerprint()
        except (OSError, ValueError) as error:
            raise OptionError("oauth2.jwt_cert_file", f"cannot be used: {error}") from error
        try:
            self.make(0)
        except (OSError, ValueError) as error:
            raise OptionError("oauth2.jwt_key_file", f"cannot be used: {error}") from error

    def make(self, now_s: int) -> str:
        """A statement that begins to be good now; raises `OSError` or `ValueError` if a file cannot be used."""
        # Only here: few configurations need it, and it is large.
        import jwt

        settings = self._settings
        claims = {
            "iss": settings.client_id,
            "sub": settings.client_id,
            "aud": settings.audience,
            "iat": now_s,
            "exp": now_s + settings.life_s,
            "jti": str(uuid.uuid4()),
        }
        headers = {settings.header: self._fingerprint()}
        try:
            return jwt.encode(claims, Path(settings.key_file).read_bytes(), algorithm="RS256", headers=headers)
        except (jwt.PyJWTError, TypeError) as error:
            raise ValueError(f"{settings.key_file} holds no RSA key without a password") from error

    def _fingerprint(self) -> str:
        """The hash of the certificate in the form that goes with the name of the header."""
        content = Path(self._settings.certificate_file).read_bytes()
        start = content.find(_PEM)
        if start >= 0:
            end = content.find(_PEM_END, start) + len(_PEM_END)
            content = ssl.PEM_cert_to_DER_cert(content[start:end].decode("ascii", "replace"))
        if content[:1] != b"\x30":  # what every certificate begins with
            raise ValueError(f"{self._settings.certificate_file} holds no certificate")
        name = self._settings.header.lower()
        if name == "x5t#s256":
            return _url_safe(hashlib.sha256(content).digest())
        digest = hashlib.sha1(content)
        return _url_safe(digest.digest()) if name == "x5t" else digest.hexdigest().upper()


def _url_safe(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
