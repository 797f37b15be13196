"""The options that both services share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from ...aws.settings import AwsSettings, url_of
from ...config.options import opt
from ...errors import OptionError
from ..base import NetworkOptions

_IO_TIMEOUT_S = 60.0
_OFF_WORDS = ("off", "false")

RecordCompression = Literal["none", "gzip", "zstd", "snappy"]


class SwitchOnUnlessOff:
    """A switch that only `off` and `false` turn off, as in Fluent Bit; any other word leaves it on."""

    shown_as: ClassVar[str] = "boolean"

    def __init__(self, is_on: bool) -> None:
        self.is_on = is_on

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text.strip().lower() not in _OFF_WORDS)


class PutOptions(NetworkOptions, kw_only=True):
    """Options of outputs that put records into a stream of AWS."""

    region: Annotated[str, opt("AWS region.", example="eu-west-1")]
    time_key: Annotated[str | None, opt("Field that the time is added as.", example="time")] = None
    time_key_format: Annotated[str, opt("Form of the time; %3N, %6N, %9N and %L are fractions of a second.")] = (
        "%Y-%m-%dT%H:%M:%S"
    )
    log_key: Annotated[str | None, opt("Send the value of this field alone.", example="log")] = None
    compression: Annotated[RecordCompression, opt("Compression of each record.")] = "none"
    simple_aggregation: Annotated[bool, opt("Put as many lines into one record as it holds.")] = False
    endpoint: Annotated[
        str | None, opt("Host, host:port or URL to use instead of the region's.", example="http://localhost:4566")
    ] = None
    tls: Annotated[bool, opt("With 'off', an endpoint without scheme is spoken to in plain HTTP.", core=True)] = True
    profile: Annotated[str | None, opt("Profile of the shared AWS configuration.")] = None
    role_arn: Annotated[str | None, opt("Role to assume with the credentials found.")] = None
    external_id: Annotated[str | None, opt("External id for assuming the role.")] = None
    sts_endpoint: Annotated[str | None, opt("Host or URL of STS to use instead of the region's.")] = None
    auto_retry_requests: Annotated[SwitchOnUnlessOff, opt("Send once more, at once, when no answer came.")] = (
        SwitchOnUnlessOff(True)
    )

    def __post_init__(self) -> None:
        for option, endpoint in (("endpoint", self.endpoint), ("sts_endpoint", self.sts_endpoint)):
            try:
                url_of(endpoint or "host", self.port)
            except ValueError as error:
                raise OptionError(option, str(error), "write host, host:port, http://host or https://host") from error

    def check_files(self) -> None:
        """Raise `OptionError` if a file that an option names is not there."""
        if self.tls_ca_file and not Path(self.tls_ca_file).is_file():
            raise OptionError("tls.ca_file", f"{self.tls_ca_file} is not a file")

    def aws_settings(self) -> AwsSettings:
        """The part of the options that the AWS client is made with."""
        return AwsSettings(
            region=self.region,
            endpoint_url=url_of(self.endpoint, self.port, tls=self.tls) if self.endpoint else None,
            verify=(self.tls_ca_file or True) if self.tls_verify else False,
            connect_timeout=float(self.connect_timeout),
            io_timeout=float(self.io_timeout) or _IO_TIMEOUT_S,
            idle_timeout=float(self.keepalive_idle_timeout),
            connections=self.max_worker_connections or 16,
            use_proxy=not self.proxy_env_ignore,
            user_agent="aws-fluent-bit-plugin-",
            profile=self.profile,
            role_arn=self.role_arn,
            external_id=self.external_id,
            sts_endpoint=self.sts_endpoint,
        )
