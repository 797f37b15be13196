"""The options that Elasticsearch and OpenSearch share."""

from __future__ import annotations

from typing import Annotated, Literal

from ...codecs.template import KeyPath
from ...config.options import opt
from ...config.units import ByteSize
from ...errors import OptionError
from ..http_options import HttpOutputOptions, basic_authorization, checked_target

WriteOperation = Literal["create", "index", "update", "upsert"]


class BulkOptions(HttpOutputOptions, kw_only=True):
    """Options of outputs that speak the bulk API."""

    index: Annotated[str, opt("Index, with %Y and its like for the current time.", example="app-%Y.%m.%d")] = (
        "fluent-bit"
    )
    type: Annotated[str, opt("Type of documents, for servers older than 8.")] = "_doc"
    suppress_type_name: Annotated[bool, opt("Name no type; Elasticsearch 8 and OpenSearch 2 demand it.")] = False
    path: Annotated[str, opt("Path in front of /_bulk.", secret_path=True)] = ""
    pipeline: Annotated[str | None, opt("Ingest pipeline.")] = None
    logstash_format: Annotated[bool, opt("One index a day, by the time of the record.")] = False
    logstash_prefix: Annotated[str, opt("Begin of the name of daily indices.")] = "logstash"
    logstash_prefix_separator: Annotated[str, opt("Between prefix and date.")] = "-"
    logstash_prefix_key: Annotated[
        KeyPath | None, opt("Field with the prefix, where a record has it.", example="$kubernetes['namespace_name']")
    ] = None
    logstash_dateformat: Annotated[str, opt("Form of the date in the name of an index.")] = "%Y.%m.%d"
    time_key: Annotated[str, opt("Field that the time is written to.")] = "@timestamp"
    time_key_format: Annotated[str, opt("Form of the time, without its fraction.")] = "%Y-%m-%dT%H:%M:%S"
    time_key_nanos: Annotated[bool, opt("Nine digits for the fraction of a second instead of three.")] = False
    include_tag_key: Annotated[bool, opt("Add the tag.")] = False
    tag_key: Annotated[str, opt("Field that the tag is written to.")] = "flb-key"
    generate_id: Annotated[
        bool,
        opt(
            "Make the id of a document from its time and content, so that none is stored twice; equal records of one "
            "time are one document."
        ),
    ] = False
    id_key: Annotated[KeyPath | None, opt("Field with the id of the document.", example="$event_id")] = None
    write_operation: Annotated[WriteOperation, opt("What is done with a document.")] = "create"
    replace_dots: Annotated[bool, opt("Write _ for dots in the names of fields.")] = False
    current_time_index: Annotated[bool, opt("Use the current time instead of the record's.")] = False
    compress: Annotated[Literal["gzip", "none", "off", "false"] | None, opt("Compression of bodies.")] = None
    buffer_size: Annotated[ByteSize, opt("Accepted; an answer is read to its end.")] = ByteSize(512_000)
    trace_output: Annotated[bool, opt("Log what is sent.")] = False
    trace_error: Annotated[bool, opt("Log answers that report errors.")] = False
    aws_service_name: Annotated[str, opt("Service that requests are signed for; aoss for serverless.")] = "es"

    def __post_init__(self) -> None:
        self.path = checked_target("path", self.path).rstrip("/") if self.path else ""
        if self.id_key is not None and self.generate_id:
            raise OptionError("generate_id", "cannot be used together with id_key", "remove one of them")
        if self.write_operation in ("update", "upsert") and self.id_key is None and not self.generate_id:
            raise OptionError("write_operation", f"{self.write_operation} needs an id", "add id_key, or generate_id on")
        if self.aws_auth:
            self.aws_settings()

    def authorization(self) -> str | None:
        """The value of the header `Authorization`, if any."""
        return basic_authorization(self.http_user, self.http_passwd) if self.http_user else None
