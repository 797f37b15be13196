"""Signatures for requests to services that have no client here, such as OpenSearch or an API gateway."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError

from .session import Credentials, new_signing_session
from .settings import AwsSettings, NoCredentials


class RequestSigner:
    """Signs for one service with credentials of aiobotocore's chain."""

    def __init__(self, service: str, settings: AwsSettings) -> None:
        self._service = service
        self._settings = settings
        self._credentials: Credentials | None = None

    def open(self) -> None:
        """Get ready without a word to AWS; raises `OptionError` for a profile that does not exist."""
        _, self._credentials = new_signing_session(self._settings, "aws_profile")

    async def signed(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The headers with a signature; waits for credentials and raises `NoCredentials` if there are none."""
        if self._credentials is None:
            raise RuntimeError("the signer is not open")
        # OpenSearch Serverless wants the hash beside the signature, and no other service minds.
        hashed = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
        try:
            keys = await self._credentials.get_frozen_credentials()
            request = AWSRequest(method=method, url=url, headers={**headers, **hashed}, data=body)
            SigV4Auth(keys, self._service, self._settings.region).add_auth(request)
        except (ClientError, BotoCoreError) as error:
            raise NoCredentials(str(error)) from error
        return dict(request.headers.items())

    def forget_credentials(self) -> None:
        """Look through all sources of credentials again at the next request."""
        if self._credentials is not None:
            self._credentials.forget()
