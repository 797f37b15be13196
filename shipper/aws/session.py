"""Where AWS calls get their credentials: aiobotocore's chain, and a role on top of it.

This module, `client` and `identity` are the only ones that import aiobotocore. It takes a third of a second and tens of
megabytes, so an output imports `client` when it is opened, never when its module is loaded.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
from datetime import datetime
from typing import Any

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioContainerProvider,
    AioCredentials,
    AioRefreshableCredentials,
)
from aiobotocore.session import AioSession
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError, ProfileNotFound
from botocore.loaders import Loader, create_loader

from ..errors import OptionError
from .settings import AwsSettings, url_of

_SERVICES = frozenset({"logs", "sts", "s3", "kinesis", "firehose"})
_STS_TIMEOUT_S = 5
_REFRESH_WANTED_S = 300
_REFRESH_NEEDED_S = 60


class _ServiceModels(Loader):  # type: ignore[misc]  # botocore has no types
    """botocore's descriptions of the services, without the endpoints of services that nobody here talks to.

    All endpoints together take seven megabytes for as long as the process lives.
    """

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        if name != "endpoints":
            return super().load_data_with_path(name)  # type: ignore[no-any-return]
        data, path = create_loader().load_data_with_path(name)
        for partition in data["partitions"]:
            partition["services"] = {k: v for k, v in partition["services"].items() if k in _SERVICES}
        return data, path


@functools.cache
def _service_models() -> Loader:
    """Constants of the installed library, parsed once for all clients."""
    return _ServiceModels(create_loader().search_paths)


def new_session(settings: AwsSettings) -> AioSession:
    """A session that looks for credentials in botocore's places, in botocore's order."""
    session = AioSession(profile=settings.profile)
    session.register_component("data_loader", _service_models())
    session.set_config_variable("region", settings.region)
    return session


def new_signing_session(settings: AwsSettings, profile_option: str = "profile") -> tuple[AioSession, Credentials]:
    """A session whose clients sign with the `Credentials` returned beside it.

    Raises `OptionError` for a profile that does not exist, and names the option that it was written in.
    """
    credentials = Credentials(settings)
    session = new_session(settings)
    try:
        session.get_scoped_config()
    except ProfileNotFound as error:
        raise OptionError(profile_option, str(error)) from error
    session.register_component("credential_provider", _Provider(credentials))
    return session, credentials


class CredentialsOrigin(msgspec.Struct, frozen=True):
    """Which providers the keys in use come from, the last one with the help of those before it, and when they end."""

    providers: tuple[str, ...]
    expires: datetime | None


class Credentials(AioCredentials):  # type: ignore[misc]  # aiobotocore has no types
    """Credentials that are looked for when the first request is signed, and again after `forget`.

    botocore decides once, at start, which source it uses. A pod can get its role later than its containers, so here
    the choice is made anew whenever a source turned out to be of no use.
    """

    def __init__(self, settings: AwsSettings) -> None:
        super().__init__("", "", method="chain")  # it is asked for frozen credentials only
        self._settings = settings
        self._source: Any = None
        self._base_provider = ""
        self._lock = asyncio.Lock()

    async def get_frozen_credentials(self) -> Any:
        """Keys that are valid now; waits for the metadata service or STS when they must be fetched.

        Some sources have no deadline of their own, so all together get the time that a call has.
        """
        limit_s = self._settings.io_timeout
        try:
            async with asyncio.timeout(limit_s):
                async with self._lock:
                    if self._source is None:
                        self._source = await self._find()
                return await self._source.get_frozen_credentials()
        except TimeoutError as error:
            told = f"no end within {limit_s:g} seconds"
            raise CredentialRetrievalError(provider=self.method, error_msg=told) from error
        except OSError as error:  # a token file that cannot be read
            told = f"{error.filename}: {error.strerror}"
            raise CredentialRetrievalError(provider=self._base_provider or self.method, error_msg=told) from error
        except RuntimeError as error:  # what botocore makes of keys that were over when they came
            raise CredentialRetrievalError(provider=self._base_provider, error_msg=str(error)) from error

    def forget(self) -> None:
        """Look through all sources again at the next request."""
        self._source = None

    def origin(self) -> CredentialsOrigin | None:
        """Where the keys come from, as far as that is known by now; None before a provider had any."""
        if not self._base_provider:
            return None
        providers = dict.fromkeys((self._base_provider, self._source.method if self._source else self._base_provider))
        return CredentialsOrigin(tuple(providers), getattr(self._source, "_expiry_time", None))

    async def _find(self) -> Any:
        session = new_session(self._settings)
        if self._settings.credentials_endpoint:
            places = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self._settings.credentials_endpoint}
            base = await AioContainerProvider(environ=places).load()
        else:
            base = await session.get_credentials()
        if base is None:
            raise NoCredentialsError
        self._base_provider = base.method
        if isinstance(base, AioRefreshableCredentials):
            # Before, botocore fetches new keys with every request while the old ones have less than ten minutes left,
            # and does not use the old ones if that fails; some sources give out keys that have no more to begin with.
            base._advisory_refresh_timeout = _REFRESH_WANTED_S
            base._mandatory_refresh_timeout = _REFRESH_NEEDED_S
        return await self._assume_role(session, base) if self._settings.role_arn else base

    async def _assume_role(self, session: AioSession, base: Any) -> Any:
        settings = self._settings
        # The certificate of STS is checked even where `tls.verify off` spares the destination's.
        create_client = functools.partial(
            session.create_client,
            region_name=settings.region,
            endpoint_url=url_of(settings.sts_endpoint) if settings.sts_endpoint else None,
            config=AioConfig(connect_timeout=_STS_TIMEOUT_S, read_timeout=_STS_TIMEOUT_S),
        )
        extra = {"RoleSessionName": secrets.token_hex(16)}
        if settings.external_id:
            extra["ExternalId"] = settings.external_id
        fetcher = AioAssumeRoleCredentialFetcher(create_client, base, settings.role_arn, extra_args=extra)
        return AioRefreshableCredentials.create_from_metadata(
            metadata=await fetcher.fetch_credentials(),
            refresh_using=fetcher.fetch_credentials,
            method="sts-assume-role",
            advisory_timeout=_REFRESH_WANTED_S,
            mandatory_timeout=_REFRESH_NEEDED_S,
        )


class _Provider:
    """What a session asks for credentials; it always has the same ones."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> Credentials:
        return self._credentials
