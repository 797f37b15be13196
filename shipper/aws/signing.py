"""Signatures for requests to services that have no client here, such as OpenSearch or an API gateway."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from botocore.exceptions import ClientError

from .session import Credentials, new_signing_session
from .settings import AwsSettings, NoCredentials, one_line
from .signature import Signatures


class RequestSigner:
    """Signs for one service with credentials of aiobotocore's chain."""

    def __init__(self, service: str, settings: AwsSettings) -> None:
        self._signatures = Signatures(service, settings.region)
        self._settings = settings
        self._credentials: Credentials | None = None

    def open(self) -> None:
        """Get ready without a word to AWS; raises `OptionError` for a profile that does not exist."""
        _, self._credentials = new_signing_session(self._settings, "aws_profile")

    async def signed(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The headers with a signature; waits for credentials and raises `NoCredentials` if there are none."""
        if self._credentials is None:
            raise RuntimeError("the signer is not open")
        try:
            keys = await self._credentials.get_frozen_credentials()
        except ClientError as error:
            raise NoCredentials(one_line(str(error))) from error
        payload = hashlib.sha256(body).hexdigest()
        # OpenSearch Serverless wants the hash beside the signature, and no other service minds.
        return self._signatures.headers(keys, method, url, {**headers, "X-Amz-Content-SHA256": payload}, payload)

    def forget_credentials(self) -> None:
        """Look through all sources of credentials again at the next request."""
        if self._credentials is not None:
            self._credentials.forget()
