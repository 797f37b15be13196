"""The options that both services share."""

from __future__ import annotations

from typing import Annotated, Literal

from ...config.options import opt
from ..aws_options import AwsOutputOptions, SwitchOnUnlessOff

RecordCompression = Literal["none", "gzip", "zstd", "snappy"]


class PutOptions(AwsOutputOptions, kw_only=True):
    """Options of outputs that put records into a stream of AWS."""

    time_key: Annotated[str | None, opt("Field that the time is added as.", example="time")] = None
    time_key_format: Annotated[str, opt("Form of the time; %3N, %6N, %9N and %L are fractions of a second.")] = (
        "%Y-%m-%dT%H:%M:%S"
    )
    log_key: Annotated[str | None, opt("Send the value of this field alone.", example="log")] = None
    compression: Annotated[RecordCompression, opt("Compression of each record.")] = "none"
    simple_aggregation: Annotated[bool, opt("Put as many lines into one record as it holds.")] = False
    auto_retry_requests: Annotated[SwitchOnUnlessOff, opt("Send once more, at once, when no answer came.")] = (
        SwitchOnUnlessOff(True)
    )

    def __post_init__(self) -> None:
        self.check_endpoints()
