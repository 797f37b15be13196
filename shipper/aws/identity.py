"""Who AWS takes us for: the provider of the credentials, and the principal behind them."""

from __future__ import annotations

import asyncio

import msgspec
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from .session import CredentialsOrigin, new_signing_session
from .settings import AwsError, AwsSettings, NoAnswer, NoCredentials, one_line, url_of


class Principal(msgspec.Struct, frozen=True):
    """The role or user that signatures stand for, and its account."""

    arn: str
    account: str


class CallerIdentity:
    """Asks for the identity that calls with these settings have. Raises `OptionError` for an unknown profile."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._session, self._credentials = new_signing_session(settings)

    def origin(self) -> CredentialsOrigin | None:
        """Where the credentials come from, as far as `find` has got; None before a provider had any."""
        return self._credentials.origin()

    async def find(self) -> None:
        """Get credentials; waits for the provider, at most as long as a call may take.

        Raises `NoCredentials` if there are none.
        """
        try:
            await self._credentials.get_frozen_credentials()
        except ClientError as error:
            raise NoCredentials(one_line(str(error))) from error

    async def principal(self) -> Principal:
        """Ask STS, at the endpoint of the settings if they name one; waits at most as long as a call may take.

        Raises `AwsError`, `NoAnswer` or `NoCredentials`.
        """
        try:
            async with asyncio.timeout(self._settings.io_timeout):
                return await self._ask()
        except ClientError as error:
            told = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise AwsError(str(told.get("Code") or ""), status, str(told.get("Message") or "")) from error
        except TimeoutError as error:
            raise NoAnswer(f"no answer within {self._settings.io_timeout:g} seconds", timed_out=True) from error
        except (HTTPClientError, ConnectionError) as error:
            raise NoAnswer(str(error)) from error
        except BotoCoreError as error:
            raise NoCredentials(str(error)) from error

    async def _ask(self) -> Principal:
        settings = self._settings
        client = self._session.create_client(
            "sts",
            region_name=settings.region,
            endpoint_url=url_of(settings.sts_endpoint) if settings.sts_endpoint else None,
            config=AioConfig(
                connect_timeout=settings.connect_timeout,
                read_timeout=settings.io_timeout,
                retries={"total_max_attempts": 2, "mode": "standard"},
            ),
        )
        async with client as sts:
            answer = await sts.get_caller_identity()
        return Principal(answer["Arn"], answer["Account"])
