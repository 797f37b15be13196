"""The options that every output to AWS has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Self

from msgspec import field

from ..aws.settings import AwsSettings, url_of
from ..config.options import opt
from ..errors import OptionError
from ..net.settings import tcp_keepalive, tls_settings
from .base import NetworkOptions

_CONNECT_TIMEOUT_S, _IO_TIMEOUT_S = 10.0, 60.0
_OFF_WORDS = ("off", "false")
_REGION = re.compile(r"[A-Za-z0-9_-]+")


class SwitchOnUnlessOff:
    """A switch that only `off` and `false` turn off, as in Fluent Bit; any other word leaves it on."""

    shown_as: ClassVar[str] = "boolean"

    def __init__(self, is_on: bool) -> None:
        self.is_on = is_on

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text.strip().lower() not in _OFF_WORDS)


class Region(str):
    """The name of a region; it becomes a part of host names."""

    @classmethod
    def parse(cls, text: str) -> Self:
        if _REGION.fullmatch(text.strip()) is None:
            raise ValueError(f"{text!r} cannot be the name of a region")
        return cls(text.strip())


class AwsOutputOptions(NetworkOptions, kw_only=True):
    """Where the service is, and whose credentials are used.

    `usual_connections` is how many there may be if `net.max_worker_connections` does not say.
    """

    usual_connections: ClassVar[int] = 16

    region: Annotated[Region, opt("AWS region.", example="eu-west-1")]
    endpoint: Annotated[
        str | None, opt("Host, host:port or URL to use instead of the region's.", example="http://localhost:4566")
    ] = None
    tls: Annotated[bool, opt("With 'off', an endpoint without scheme is spoken to in plain HTTP.", core=True)] = True
    tls_verify_hostname: Annotated[bool, opt("Check the name in the certificate.")] = field(
        default=True, name="tls.verify_hostname"
    )
    profile: Annotated[str | None, opt("Profile of the shared AWS configuration.")] = None
    role_arn: Annotated[str | None, opt("Role to assume with the credentials found.")] = None
    external_id: Annotated[str | None, opt("External id for assuming the role.")] = None
    sts_endpoint: Annotated[str | None, opt("Host or URL of STS to use instead of the region's.")] = None

    @property
    def user_agent(self) -> str:
        """The end of the User-Agent."""
        return "aws-fluent-bit-plugin-"

    def check_endpoints(self) -> None:
        """Raise `OptionError` if an endpoint is none."""
        for option, endpoint in (("endpoint", self.endpoint), ("sts_endpoint", self.sts_endpoint)):
            try:
                url_of(endpoint or "host", self.port)
            except ValueError as error:
                raise OptionError(option, str(error), "write host, host:port, http://host or https://host") from error

    def check_files(self) -> None:
        """Raise `OptionError` if a file that an option names is not there."""
        if self.tls_ca_file and not Path(self.tls_ca_file).is_file():
            raise OptionError("tls.ca_file", f"{self.tls_ca_file} is not a file")

    @property
    def endpoint_url(self) -> str | None:
        """Where to send to instead of the region's own endpoint."""
        return url_of(self.endpoint, self.port, tls=self.tls) if self.endpoint else None

    def aws_settings(self) -> AwsSettings:
        """The part of the options that the client is made with."""
        return AwsSettings(
            region=self.region,
            endpoint_url=self.endpoint_url,
            tls=tls_settings(self),
            connect_timeout=float(self.connect_timeout) or _CONNECT_TIMEOUT_S,
            io_timeout=float(self.io_timeout) or _IO_TIMEOUT_S,
            keepalive=self.keepalive,
            idle_timeout=float(self.keepalive_idle_timeout),
            requests_each=max(0, self.keepalive_max_recycle),
            tcp_keepalive=tcp_keepalive(self),
            connections=self.max_worker_connections or self.usual_connections,
            source_address=self.source_address,
            use_proxy=not self.proxy_env_ignore,
            user_agent=self.user_agent,
            profile=self.profile,
            role_arn=self.role_arn,
            external_id=self.external_id,
            sts_endpoint=self.sts_endpoint,
        )
