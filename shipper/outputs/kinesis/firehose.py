"""Put records into a Data Firehose delivery stream."""

from __future__ import annotations

from typing import Annotated

from ...config.options import opt
from .options import PutOptions
from .put import PutOutput, Service
from .records import Limits


class KinesisFirehoseOptions(PutOptions, kw_only=True):
    """Options of the output `kinesis_firehose`."""

    delivery_stream: Annotated[str, opt("Name of the delivery stream.", example="logs-to-s3")]


class KinesisFirehoseOutput(PutOutput):
    """Puts records into a delivery stream."""

    Options = KinesisFirehoseOptions
    service = Service(
        "firehose",
        "PutRecordBatch",
        "DeliveryStreamName",
        "RequestResponses",
        "FailedPutCount",
        "RecordId",
        Limits(500, 1_024_000, 4_194_304),
    )

    def stream_of(self, options: KinesisFirehoseOptions) -> str:
        return options.delivery_stream
