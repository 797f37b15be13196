"""What a configuration may say about the output `s3`, and which of it cannot be."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Annotated, Literal, cast

from ...aws.settings import configured_endpoint, service_host
from ...codecs.compression import Compression
from ...codecs.dates import DateFormat
from ...config.options import opt
from ...config.units import ByteSize, Seconds
from ...errors import OptionError
from ..aws_options import AwsOutputOptions, Region

PART_LEAST = 5_242_880
PUT_MOST = 1_000_000_000
_TOTAL_LEAST, _TOTAL_MOST = 1_000_000, 50_000_000_000
_CHUNK_MOST, _CHUNK_MOST_COMPRESSED = 50_000_000, 5_000_000_000
_PUT_BELOW = 10_485_760
_LINES = ("json_lines", "json")
_OTLP = ("otlp_json", "otlp_json_pretty")
_COLUMNAR = ("parquet", "arrow")
_PLACES = (("ECS_CONTAINER_METADATA_URI_V4", "-ecs"), ("KUBERNETES_SERVICE_HOST", "-k8s"))
"""How the User-Agent ends where we run, by the variable that tells it."""

_FOR_BLOBS = "Accepted; it is for inputs of whole files, of which there is none."
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


class S3Options(AwsOutputOptions, kw_only=True):
    """Options of the output `s3`."""

    bucket: Annotated[str, opt("Bucket to put objects into.", example="my-bucket")]
    region: Annotated[Region, opt("AWS region.", example="eu-west-1")] = Region("us-east-1")
    total_file_size: Annotated[ByteSize, opt("Size of an object before compression.", example="50M")] = ByteSize(
        100_000_000
    )
    upload_chunk_size: Annotated[ByteSize, opt("Size of a part of a multipart upload.", example="6M")] = ByteSize(
        PART_LEAST
    )
    upload_timeout: Annotated[Seconds, opt("Longest time that an object may grow.", example="1m")] = Seconds(600)
    use_put_object: Annotated[bool, opt("Put each object in one go; always so below 10 MiB.")] = False
    store_dir: Annotated[str, opt("Folder for what is not in S3 yet.", example="/var/lib/shipper/s3")] = (
        "/tmp/fluent-bit/s3"
    )
    store_dir_limit_size: Annotated[ByteSize, opt("Most bytes in store_dir; 0 for no limit.", example="10G")] = (
        ByteSize(0)
    )
    quarantine_dir_limit_size: Annotated[ByteSize, opt("Most bytes of objects put aside; 0 for no limit.")] = ByteSize(
        0
    )
    retry_exhausted_action: Annotated[
        Literal["quarantine", "delete"], opt("What becomes of an object whose retries are used up.")
    ] = "quarantine"
    s3_key_format: Annotated[
        str, opt("Key of an object: $TAG, $TAG[n], $UUID, $INDEX and strftime.", example="/logs/$TAG/%Y/%m/%d/$UUID.gz")
    ] = "/fluent-bit-logs/$TAG/%Y/%m/%d/%H/%M/%S"
    s3_key_format_tag_delimiters: Annotated[str, opt("Characters at which $TAG[n] splits the tag.", example=".-")] = "."
    static_file_path: Annotated[bool, opt("Add no random characters to keys.")] = False
    format: Annotated[
        str,
        opt(
            "json_lines, json (the same), otlp_json, otlp_json_pretty, or parquet and arrow with the extra 'parquet'.",
            example="parquet",
        ),
    ] = "json_lines"
    json_date_key: Annotated[str, opt("Key of the date; false for no date.")] = "date"
    json_date_format: Annotated[DateFormat, opt("Form of the date.", example="iso8601")] = "iso8601"
    log_key: Annotated[str | None, opt("Write the value of this key alone.", example="log")] = None
    compression: Annotated[str, opt("none, gzip, zstd or snappy.", example="gzip")] = "none"
    content_type: Annotated[str | None, opt("Content-Type of the object.", example="application/json")] = None
    canned_acl: Annotated[str | None, opt("Access policy of the object.", example="private")] = None
    storage_class: Annotated[str | None, opt("Storage class of the object.", example="STANDARD_IA")] = None
    server_side_encryption: Annotated[
        str | None, opt("AES256 or aws:kms; without it the bucket's default.", aliases=("sse",))
    ] = None
    sse_kms_key_id: Annotated[str | None, opt("Key of KMS to encrypt with.")] = None
    send_content_md5: Annotated[bool, opt("Send a Content-MD5 with data.")] = False
    preserve_data_ordering: Annotated[
        bool, opt("Objects of a tag in their order; off lets newer ones pass one that failed.")
    ] = True
    auto_retry_requests: Annotated[bool, opt("Send once more, at once, when no answer came.")] = True
    blob_database_file: Annotated[str | None, opt(_FOR_BLOBS, without_effect=True)] = None
    part_size: Annotated[str | None, opt(_FOR_BLOBS, without_effect=True)] = None
    file_delivery_attempt_limit: Annotated[str | None, opt(_FOR_BLOBS, without_effect=True)] = None
    part_delivery_attempt_limit: Annotated[str | None, opt(_FOR_BLOBS, without_effect=True)] = None
    upload_parts_timeout: Annotated[str | None, opt(_FOR_BLOBS, without_effect=True)] = None
    upload_part_freshness_limit: Annotated[str | None, opt(_FOR_BLOBS, without_effect=True)] = None
    authorization_endpoint_url: Annotated[str | None, opt(_FOR_BLOBS, without_effect=True)] = None
    authorization_endpoint_username: Annotated[str | None, opt(_FOR_BLOBS, without_effect=True)] = None
    authorization_endpoint_password: Annotated[str | None, opt(_FOR_BLOBS, without_effect=True, secret=True)] = None
    authorization_endpoint_bearer_token: Annotated[str | None, opt(_FOR_BLOBS, without_effect=True, secret=True)] = None

    def __post_init__(self) -> None:
        if not _BUCKET.fullmatch(self.bucket):
            raise OptionError("bucket", f"{self.bucket!r} is not the name of a bucket", "letters, digits and . - _")
        if not self.s3_key_format.startswith("/"):
            raise OptionError("s3_key_format", "'s3_key_format' must start with a '/'")
        self.check_endpoints()
        self._check_format()
        self._check_sizes()

    def _check_format(self) -> None:
        if self.format not in (*_LINES, *_OTLP, *_COLUMNAR):
            hint = "write json_lines, otlp_json, parquet or arrow"
            raise OptionError("format", f"{self.format!r} is not possible", hint)
        inner = ("gzip", "zstd", "snappy")
        known = ("none", *inner, *_COLUMNAR)
        if self.compression not in known:
            raise OptionError("compression", f"{self.compression!r} is not possible", f"write {', '.join(known[:4])}")
        if self.columnar == "arrow" and self.compression not in ("none", "zstd", "arrow"):
            raise OptionError("compression", f"arrow cannot hold {self.compression}", "write zstd or none")
        if self.columnar and self.format in _OTLP:
            raise OptionError("compression", f"{self.columnar} is not possible with the format {self.format}")
        if (self.columnar or self.format in _OTLP) and self.log_key is not None:
            raise OptionError("log_key", f"log_key is not possible with the format {self.columnar or self.format}")

    def _check_sizes(self) -> None:
        total, chunk = self.total_file_size, self.upload_chunk_size
        if total < _TOTAL_LEAST:
            raise OptionError("total_file_size", f"the least is {_TOTAL_LEAST}", "for example: total_file_size 50M")
        if total > _TOTAL_MOST:
            raise OptionError("total_file_size", f"the most is {_TOTAL_MOST}")
        if self.puts_whole:
            if total > PUT_MOST:
                raise OptionError("total_file_size", f"the most for an object put in one go is {PUT_MOST}")
            return
        most = _CHUNK_MOST if self.compression == "none" else _CHUNK_MOST_COMPRESSED
        if not PART_LEAST <= chunk <= most:
            raise OptionError("upload_chunk_size", f"a part has at least {PART_LEAST} and at most {most} bytes")
        if chunk > total:
            raise OptionError("upload_chunk_size", "a part cannot be larger than total_file_size")
        if chunk != PART_LEAST and 2 * chunk > total:
            raise OptionError("total_file_size", "must be at least twice upload_chunk_size")

    @property
    def columnar(self) -> str:
        """`parquet` or `arrow` if objects are such files, else nothing."""
        found = [word for word in (self.format, self.compression) if word in _COLUMNAR]
        return found[0] if found else ""

    @property
    def codec(self) -> Compression:
        """How bytes are compressed: those of the object, or those inside a columnar file."""
        return "none" if self.compression in _COLUMNAR else cast(Compression, self.compression)

    @property
    def puts_whole(self) -> bool:
        """Whether no multipart upload is made."""
        return self.use_put_object or bool(self.columnar) or self.total_file_size < _PUT_BELOW

    @property
    def date_key(self) -> str | None:
        return None if self.json_date_key.strip().lower() in ("false", "off", "no") else self.json_date_key

    def wants(self) -> Callable[[str], bool]:
        """A test whether a tag is for this output, as routes have it; without a pattern every tag is."""
        glob = None if self.match is None else ".*".join(map(re.escape, self.match.split("*")))
        by_glob = re.compile(glob, re.DOTALL).fullmatch if glob is not None else None
        by_regex = self.match_regex

        def fits(tag: str) -> bool:
            if by_glob is None and by_regex is None:
                return True
            found = by_regex.match(tag) if by_regex is not None else None
            return (found is not None and found.end() > 0) or (by_glob is not None and by_glob(tag) is not None)

        return fits

    def remarks(self) -> list[str]:
        """What is understood otherwise than it may be meant."""
        told = []
        if self.format == "json":
            told.append("format json is the same as json_lines: objects hold one record a line")
        if self.total_limit_size:
            told.append(
                "storage.total_limit_size limits what waits before store_dir; to limit what is in it, use "
                "store_dir_limit_size"
            )
        return told

    @property
    def user_agent(self) -> str:
        place = next((word for variable, word in _PLACES if os.environ.get(variable)), "")
        return f"aws-fluent-bit-plugin{place}"

    @property
    def base_url(self) -> str:
        """The URL of the bucket: its path at an endpoint, its own host in AWS."""
        if endpoint := self.endpoint_url or configured_endpoint("s3"):
            return f"{endpoint}/{self.bucket}"
        host = service_host("s3", self.region)
        has_own_host = re.fullmatch(r"[a-z0-9-]{3,63}", self.bucket) is not None
        return f"https://{self.bucket}.{host}" if has_own_host else f"https://{host}/{self.bucket}"

    def object_headers(self) -> dict[str, str]:
        """Headers of every object."""
        wanted = {
            "Content-Type": self.content_type,
            "x-amz-acl": self.canned_acl,
            "x-amz-storage-class": self.storage_class,
            "x-amz-server-side-encryption": self.server_side_encryption,
            "x-amz-server-side-encryption-aws-kms-key-id": self.sse_kms_key_id,
        }
        return {name: value for name, value in wanted.items() if value}
