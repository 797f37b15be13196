"""Put records into a Kinesis data stream."""

from __future__ import annotations

from typing import Annotated

from ...config.options import opt
from .options import PutOptions
from .put import PutOutput, Service
from .records import Limits


class KinesisStreamsOptions(PutOptions, kw_only=True):
    """Options of the output `kinesis_streams`."""

    stream: Annotated[str, opt("Name of the stream.", example="logs")]


class KinesisStreamsOutput(PutOutput):
    """Puts records into a data stream, spread over its shards."""

    Options = KinesisStreamsOptions
    # 1 MiB for an entry with its key, and 5 MiB for a request, which every stream takes.
    service = Service(
        "kinesis",
        "PutRecords",
        "StreamName",
        "Records",
        "FailedRecordCount",
        "SequenceNumber",
        Limits(500, 1_048_556, 5_242_880),
        has_partition_keys=True,
    )

    def stream_of(self, options: KinesisStreamsOptions) -> str:
        return options.stream
