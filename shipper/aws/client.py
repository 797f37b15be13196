"""Calls to AWS services that speak JSON, with bodies that are already made.

botocore's validator and serializer cost microseconds for every log event. They are given nothing to do: the finished
body travels beside the parameters into the request context and becomes the body just before signing. Endpoints,
credentials, signing, connections and error parsing remain aiobotocore's.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
from aiobotocore.config import AioConfig
from aiohttp.payload import BytesPayload, Payload
from botocore import xform_name
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    HTTPClientError,
    ReadTimeoutError,
)

from .session import Credentials, new_signing_session
from .settings import Answer, AwsError, AwsSettings, NoAnswer, NoCredentials

_BODY = "finished_body"
_HEADERS = "extra_headers"
_NO_HEADERS: Mapping[str, str] = {}
_WRONG_CLOCK = re.compile(
    "RequestTimeTooSkewed|RequestExpired|Signature expired|Signature not yet current", re.IGNORECASE
)
_SIGNED_AT = "%Y%m%dT%H%M%SZ"
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class AwsClient:
    """One client of one service; any number of calls may run at the same time."""

    def __init__(self, service: str, settings: AwsSettings) -> None:
        self._service = service
        self._settings = settings
        self._stack = AsyncExitStack()
        self._api: Any = None
        self._credentials: Credentials | None = None
        self._clock_offset_s = 0
        """How far the service's clock is ahead of ours, where that kept it from believing a signature."""

    async def open(self) -> None:
        """Get ready without a word to AWS; raises `OptionError` for a profile that does not exist."""
        settings = self._settings
        session, self._credentials = new_signing_session(settings)
        self._api = await self._stack.enter_async_context(
            session.create_client(
                self._service,
                region_name=settings.region,
                endpoint_url=settings.endpoint_url,
                verify=None if settings.verify is True else settings.verify,
                config=_client_config(settings),
            )
        )
        events = self._api.meta.events
        events.register("before-parameter-build", _put_body_aside)
        events.register("before-call", _use_finished_body)
        events.register("before-sign", self._correct_signing_time)
        events.register("before-send", _send_in_one_piece)
        events.register("before-parse", _make_parsable)

    async def call(self, operation: str, body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> Answer:
        """Make one call and wait for its answer, at most for the time the settings allow.

        Raises `AwsError` for an answer that is an error, `NoAnswer` if none came, `NoCredentials` if nothing was sent.
        """
        make = getattr(self._api, xform_name(operation))
        try:
            async with asyncio.timeout(self._settings.io_timeout):
                parsed = await make(**{_BODY: body, _HEADERS: headers})
        except ClientError as error:
            self._learn_clock_offset(error)
            raise _aws_error(error) from error
        except (ReadTimeoutError, ConnectTimeoutError, TimeoutError) as error:
            raise NoAnswer(str(error) or "no answer in time", timed_out=True) from error
        except (HTTPClientError, ConnectionError) as error:
            raise NoAnswer(str(error)) from error
        except BotoCoreError as error:
            raise NoCredentials(str(error)) from error
        return Answer(parsed, parsed["ResponseMetadata"]["HTTPHeaders"].get("x-amzn-requestid"))

    def forget_credentials(self) -> None:
        """Look through all sources of credentials again at the next call."""
        if self._credentials is not None:
            self._credentials.forget()

    async def close(self) -> None:
        """Close the connections."""
        await self._stack.aclose()

    def _learn_clock_offset(self, error: ClientError) -> None:
        told = error.response.get("Error", {})
        date = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date and _WRONG_CLOCK.search(f"{told.get('Code')} {told.get('Message')}"):
            self._clock_offset_s = round(parsedate_to_datetime(date).timestamp() - time.time())

    def _correct_signing_time(self, request: Any, **_: Any) -> None:
        if self._clock_offset_s:
            request.context = _CorrectedContext(request.context, self._clock_offset_s)


class _CorrectedContext(dict[str, Any]):
    """The context of a request; the signer, which knows only this machine's clock, notes the time of signing in it."""

    def __init__(self, context: dict[str, Any], offset_s: int) -> None:
        super().__init__(context)
        self._offset = timedelta(seconds=offset_s)

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "timestamp":
            value = (datetime.strptime(value, _SIGNED_AT) + self._offset).strftime(_SIGNED_AT)
        super().__setitem__(key, value)


def _client_config(settings: AwsSettings) -> AioConfig:
    return AioConfig(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.io_timeout,
        max_pool_connections=settings.connections,
        retries={"total_max_attempts": 1, "mode": "standard"},  # the dispatcher knows better when to try again
        parameter_validation=False,
        disable_request_compression=True,
        user_agent_extra=settings.user_agent or None,
        proxies=None if settings.use_proxy else {},
        connector_args={"keepalive_timeout": settings.idle_timeout},
    )


def _aws_error(error: ClientError) -> AwsError:
    response: dict[str, Any] = error.response
    told = response.get("Error", {})
    metadata = response.get("ResponseMetadata", {})
    after = metadata.get("HTTPHeaders", {}).get("retry-after", "")
    message = str(told.get("Message") or "")
    if error.operation_name.startswith("AssumeRole"):
        message = f"{error.operation_name}: {message}"
    return AwsError(
        str(told.get("Code") or ""),
        metadata.get("HTTPStatusCode", 0),
        message,
        after=float(after) if after.isdecimal() else None,
        fields=response,
    )


def _put_body_aside(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Take our two keys out of the parameters, so that the serializer sees none."""
    context[_BODY] = params.pop(_BODY)
    context[_HEADERS] = params.pop(_HEADERS)


def _use_finished_body(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Let the request carry our body; it is signed after this."""
    params["body"] = context[_BODY]
    params["headers"].update(context[_HEADERS])


class _WholeBody(BytesPayload):
    """A body that aiohttp writes in one piece, whatever its size; its own class warns above one megabyte."""

    def __init__(self, body: bytes) -> None:
        Payload.__init__(self, body)
        self._size = len(body)


def _send_in_one_piece(request: Any, **_: Any) -> None:
    request.body = _WholeBody(request.body)


def _make_parsable(response_dict: dict[str, Any], **_: Any) -> None:
    """botocore's parser takes it for granted that a body is a JSON object; that of a proxy need not be."""
    body = response_dict["body"]
    if body:
        try:
            _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = body[:500].decode("utf-8", "replace")
            response_dict["body"] = msgspec.json.encode({"message": text})
