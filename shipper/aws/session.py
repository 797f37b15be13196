"""Where AWS calls get their credentials: aiobotocore's providers, and roles on top of them.

This module, `chain` and `identity` are the only ones that import aiobotocore. It takes a third of a second and tens of
megabytes, so an output imports `client` when it is opened, never when its module is loaded.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import os
import secrets
import time
from datetime import datetime
from typing import Any

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioAssumeRoleCredentialFetcher, AioCredentials, AioRefreshableCredentials
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError, ConfigParseError, ProfileNotFound
from botocore.loaders import Loader, create_loader

from ..errors import OptionError
from ..log import Log
from .chain import FAILURES, FARGATE_ROLE, Provider, Trail, providers, words_of
from .settings import AwsSettings, NoCredentials, url_of

_SERVICES = frozenset({"logs", "sts", "s3", "kinesis", "firehose"})
_STS_TIMEOUT_S = 5
_STS_ATTEMPTS = 2
_PROVIDER_TIMEOUT_S = 15.0
"""A provider that takes longer is given up, so that the next ones get their turn."""

_LOOK_AGAIN_S = 300.0
"""For so long the credentials of a provider are used that others should have had before it, and failed to give out."""

_REFRESH_WANTED_S = 300
_REFRESH_NEEDED_S = 60
_TELL_EVERY_S = 60.0

# Its warnings come with tracebacks; what matters of them is told where the credentials are asked for.
logging.getLogger("aiobotocore").addHandler(logging.NullHandler())


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
    """A session whose clients reach STS as the settings say."""
    session = AioSession(profile=settings.profile)
    session.register_component("data_loader", _service_models())
    session.set_config_variable("region", settings.region)
    session.set_default_client_config(
        AioConfig(
            connect_timeout=_STS_TIMEOUT_S,
            read_timeout=_STS_TIMEOUT_S,
            retries={"total_max_attempts": _STS_ATTEMPTS, "mode": "standard"},
            proxies=None if settings.use_proxy else {},
        )
    )
    return session


def new_signing_session(settings: AwsSettings, profile_option: str = "profile") -> tuple[AioSession, Credentials]:
    """A session whose clients sign with the `Credentials` returned beside it.

    Raises `OptionError` for shared files that cannot be read, and for a profile that does not exist, and names the
    option that it was written in.
    """
    credentials = Credentials(settings)
    session = new_session(settings)
    try:
        session.get_scoped_config()
    except (ProfileNotFound, ConfigParseError) as error:
        raise OptionError(profile_option, str(error)) from error
    session.register_component("credential_provider", _Provider(credentials))
    return session, credentials


class CredentialsOrigin(msgspec.Struct, frozen=True):
    """Which providers the keys in use come from, the last one with the help of those before it, and when they end."""

    providers: tuple[str, ...]
    expires: datetime | None


class Credentials(AioCredentials):  # type: ignore[misc]  # aiobotocore has no types
    """Credentials that are looked for when the first request is signed, and again after `forget`.

    botocore decides once, at start, which provider it uses. A pod can get its role later than its containers, so here
    the choice is made anew whenever a provider turned out to be of no use.
    """

    def __init__(self, settings: AwsSettings) -> None:
        super().__init__("", "", method="chain")  # it is asked for frozen credentials only
        self._settings = settings
        self._log = Log("")
        self._source: Any = None
        # The provider of what the source is made of; if there is none, the first one that should have had something.
        self._base_provider = ""
        self._trail = Trail()
        self._look_again_at = math.inf
        self._lock = asyncio.Lock()

    async def get_frozen_credentials(self) -> Any:
        """Keys that are valid now; waits for the metadata service or STS when they must be fetched.

        All providers together get the time that a call has. Raises `NoCredentials` with what each of them said, and
        `ClientError` with what STS says of a role that is to be assumed with the credentials found.
        """
        limit_s = self._settings.io_timeout
        try:
            async with asyncio.timeout(limit_s):
                return await self._keys()
        except TimeoutError as error:
            trail = "" if self._source else str(self._trail)
            told = f"no end within {limit_s:g} seconds"
            raise NoCredentials(f"{told} ({trail})" if trail else told) from error

    def forget(self) -> None:
        """Look through all sources again at the next request."""
        self._source = None

    def origin(self) -> CredentialsOrigin | None:
        """Where the keys come from, as far as that is known by now; None before a provider had any."""
        if not self._base_provider:
            return None
        names = dict.fromkeys((self._base_provider, self._source.method if self._source else self._base_provider))
        return CredentialsOrigin(tuple(names), getattr(self._source, "_expiry_time", None))

    async def _keys(self) -> Any:
        if time.monotonic() >= self._look_again_at:
            self._source, self._look_again_at = None, math.inf
        source = self._source
        if source is not None:
            try:
                return await source.get_frozen_credentials()
            except FAILURES as error:
                told = "AWS credentials cannot be renewed; all providers are asked"
                self._log.warning(told, every=_TELL_EVERY_S, reason=words_of(error))
                if self._source is source:
                    self._source = None
        async with self._lock:
            if self._source is None:
                self._source = await self._find()
            found = self._source
        try:
            return await found.get_frozen_credentials()
        except ClientError:
            raise
        except FAILURES as error:
            raise NoCredentials(words_of(error)) from error

    async def _find(self) -> Any:
        session = new_session(self._settings)
        source = await self._first(session)
        fargate_role = os.environ.get(FARGATE_ROLE)
        if fargate_role and not self._settings.credentials_endpoint:
            source = await self._assume_role(session, source, fargate_role)
        if self._settings.role_arn:
            source = await self._assume_role(session, source, self._settings.role_arn, self._settings.external_id)
        return source

    async def _first(self, session: AioSession) -> Any:
        """The credentials of the first provider that gives some out; raises `NoCredentials` if none does."""
        self._trail, self._base_provider = Trail(), ""
        failed = []
        try:
            asked = providers(session, self._settings)
        except BotoCoreError as error:
            raise NoCredentials(f"shared files: {words_of(error)}") from error
        for provider in asked:
            try:
                async with asyncio.timeout(_PROVIDER_TIMEOUT_S):
                    found = await _given_out(provider)
            except FAILURES as error:
                late = f"no end within {_PROVIDER_TIMEOUT_S:g} seconds"
                self._trail.note(provider, late if isinstance(error, TimeoutError) else words_of(error))
                self._base_provider = self._base_provider or provider.method
                failed.append(provider)
                continue
            if found is not None:
                if failed:
                    told = f"AWS credentials come from {provider.name}, as others fail"
                    self._log.warning(told, every=_TELL_EVERY_S, others=self._trail)
                    # Whose credentials these are may be somebody else, so it is for a while only.
                    self._look_again_at = time.monotonic() + _LOOK_AGAIN_S
                self._base_provider = provider.method
                return found
            self._trail.note(provider, provider.silence())
        raise NoCredentials(f"no provider has credentials ({self._trail})")

    async def _assume_role(self, session: AioSession, base: Any, role_arn: str, external_id: str | None = None) -> Any:
        settings = self._settings
        # The certificate of STS is checked even where `tls.verify off` spares the destination's.
        create_client = functools.partial(
            session.create_client,
            region_name=settings.region,
            endpoint_url=url_of(settings.sts_endpoint) if settings.sts_endpoint else None,
        )
        extra = {"RoleSessionName": secrets.token_hex(16)}
        if external_id:
            extra["ExternalId"] = external_id
        fetcher = AioAssumeRoleCredentialFetcher(create_client, base, role_arn, extra_args=extra)
        try:
            metadata = await fetcher.fetch_credentials()
        except ClientError:
            raise
        except FAILURES as error:
            raise NoCredentials(f"AssumeRole {role_arn}: {words_of(error)}") from error
        return AioRefreshableCredentials.create_from_metadata(
            metadata=metadata,
            refresh_using=fetcher.fetch_credentials,
            method="sts-assume-role",
            advisory_timeout=_REFRESH_WANTED_S,
            mandatory_timeout=_REFRESH_NEEDED_S,
        )


async def _given_out(provider: Provider) -> Any:
    """The credentials of a provider, None if it has none; some only find out when they are asked for keys."""
    found = await provider.load()
    if found is None:
        return None
    if isinstance(found, AioRefreshableCredentials):
        # Before, botocore fetches new keys with every request while the old ones have less than ten minutes left,
        # and does not use the old ones if that fails; some sources give out keys that have no more to begin with.
        found._advisory_refresh_timeout = _REFRESH_WANTED_S
        found._mandatory_refresh_timeout = _REFRESH_NEEDED_S
    await found.get_frozen_credentials()
    return found


class _Provider:
    """What a session asks for credentials; it always has the same ones."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> Credentials:
        return self._credentials
