"""The places where credentials may be, in their order, and what each said when it had none.

The order is that of Fluent Bit: environment, shared files, web identity, container endpoint, instance metadata.
botocore's own differs: it asks for a web identity before it reads the shared files.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec
from aiobotocore.credentials import AioContainerProvider, create_credential_resolver
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError
from botocore.parsers import ResponseParserError

from .settings import AwsSettings, one_line, url_of

FARGATE_ROLE = "EKS_POD_EXECUTION_ROLE"
"""The variable that names the role of a pod on Fargate, which is assumed with what is found without web identity."""

FAILURES = (
    BotoCoreError, ClientError, ResponseParserError, OSError, RuntimeError, ValueError, KeyError, TypeError,
)  # fmt: skip
"""What providers raise: also for a file that cannot be read, keys that are over when they come, or a strange answer."""

_FILES = "shared files"
_WEB_IDENTITY = "assume-role-with-web-identity"
_CONTAINER = "container-role"
_METADATA = "iam-role"
_NAMES: Mapping[str, str] = {
    "env": "environment",
    "assume-role": _FILES,
    "sso": _FILES,
    "shared-credentials-file": _FILES,
    "login": _FILES,
    "custom-process": _FILES,
    "config-file": _FILES,
    _WEB_IDENTITY: "web identity",
    "ec2-credentials-file": "AWS_CREDENTIAL_FILE",
    "boto-config": "boto.cfg",
    _CONTAINER: "container endpoint",
    _METADATA: "IMDS",
}
"""What botocore's providers are called here, in the order in which they are asked."""


class Provider(msgspec.Struct, frozen=True):
    """One of botocore's providers; `method` is botocore's name for it, `silence` why it has nothing to give."""

    method: str
    name: str
    load: Callable[[], Any]
    silence: Callable[[], str]


class Trail:
    """What the providers that were asked said, told in their order; what several say alike is told once."""

    def __init__(self) -> None:
        self._said: dict[str, list[str]] = {}

    def note(self, provider: Provider, words: str) -> None:
        told = self._said.setdefault(provider.name, [])
        if words and words not in told:
            told.append(words)

    def __str__(self) -> str:
        return "; ".join(f"{name}: {', '.join(told)}" for name, told in self._said.items() if told)


def providers(session: AioSession, settings: AwsSettings) -> list[Provider]:
    """The providers to ask, in their order."""
    if settings.credentials_endpoint:
        places = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": settings.credentials_endpoint}
        return [_known(AioContainerProvider(environ=places), lambda: "not set")]
    known = {p.METHOD: p for p in create_credential_resolver(session, region_name=settings.region).providers}
    silences: dict[str, Callable[[], str]] = {
        "env": lambda: "AWS_ACCESS_KEY_ID not set",
        "config-file": lambda: _silence_of_files(session),
        _WEB_IDENTITY: lambda: "AWS_WEB_IDENTITY_TOKEN_FILE not set",
        _CONTAINER: lambda: "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI set",
    }
    if settings.sts_endpoint and (web_identity := known.get(_WEB_IDENTITY)) is not None:
        create_client = web_identity._client_creator
        web_identity._client_creator = functools.partial(create_client, endpoint_url=url_of(settings.sts_endpoint))
    if (process := known.get("custom-process")) is not None:
        process._popen = Command.start
    if _METADATA in known:
        silences[_METADATA] = _silence_of_metadata(known[_METADATA]._role_fetcher)
    if os.environ.get(FARGATE_ROLE):
        known.pop(_WEB_IDENTITY, None)
    # One that only a newer botocore has goes last.
    order = sorted(known, key=lambda method: [*_NAMES, method].index(method))
    return [_known(known[method], silences.get(method, lambda: "")) for method in order]


class Command:
    """A running `credential_process`, which may be a shell with others behind it.

    All are killed when nobody waits for them any longer, or each try would leave some.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, *words: str, **streams: Any) -> Self:
        """Waits for the system to start it."""
        return cls(await asyncio.create_subprocess_exec(*words, start_new_session=True, **streams))

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """What it prints until its end."""
        try:
            return await self._process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
            raise


def words_of(error: BaseException) -> str:
    """What a provider complains about, in a few words."""
    if isinstance(error, CredentialRetrievalError):
        return one_line(str(error.kwargs.get("error_msg") or error))
    if isinstance(error, KeyError):
        return f"the answer lacks {one_line(str(error))}"
    if isinstance(error, OSError) and error.filename:
        return one_line(f"{error.filename}: {error.strerror}")
    if isinstance(error, BotoCoreError) and (reason := _reason_of_connection(error)):
        place = error.kwargs.get("endpoint_url") or error.kwargs.get("proxy_url")  # without its password
        return one_line(f"{place}: {reason}")
    return one_line(str(error)) or type(error).__name__


def _known(provider: Any, silence: Callable[[], str]) -> Provider:
    return Provider(provider.METHOD, _NAMES.get(provider.METHOD, provider.METHOD), provider.load, silence)


def _silence_of_files(session: AioSession) -> str:
    """Why the files have nothing: they are not there, or not the profile, or it has no keys."""
    profile = session.get_config_variable("profile") or "default"
    places = [session.get_config_variable(name) for name in ("credentials_file", "config_file")]
    paths = [os.path.expanduser(place) for place in places if place]
    if not any(map(os.path.exists, paths)):
        return one_line(f"{' and '.join(paths)} not there")
    if profile not in session.full_config.get("profiles", {}):
        return one_line(f"no profile {profile} in {' and '.join(paths)}")
    return one_line(f"profile {profile} has no credentials")


def _silence_of_metadata(fetcher: Any) -> Callable[[], str]:
    """Why the metadata service gave nothing: what it answered last, which its fetcher keeps to itself."""
    session = fetcher._session
    send = session.send
    said = "no answer"

    async def overheard(request: Any) -> Any:
        nonlocal said
        try:
            answer = await send(request)
        except BotoCoreError as error:
            said = _reason_of_connection(error) or type(error).__name__
            raise
        said = f"status {answer.status_code}"
        if answer.status_code != 200:
            said += f" {one_line((await answer.content).decode('utf-8', 'replace'))}".rstrip()
        return answer

    def silence() -> str:
        if fetcher._disabled:
            return "switched off by AWS_EC2_METADATA_DISABLED"
        return f"{fetcher.get_base_url()}: {said}"

    session.send = overheard
    return silence


def _reason_of_connection(error: BotoCoreError) -> str:
    """Why there was no connection, as the system says it."""
    inner = error.kwargs.get("error")
    cause = getattr(inner, "os_error", inner)
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, ConnectionError) and cause.errno:
        return os.strerror(cause.errno)
    if isinstance(cause, OSError):
        return one_line(cause.strerror or str(cause))
    return ""
