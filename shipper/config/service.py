"""The options of the SERVICE section."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from .options import Options, opt
from .units import ByteSize, Seconds

LogLevel = Literal["off", "error", "warn", "warning", "info", "debug", "trace"]


class ServiceOptions(Options):
    """What holds for the whole process."""

    flush: Annotated[float, opt("Longest time in seconds that records wait for a fuller delivery.", example="1")] = 1.0
    grace: Annotated[float, opt("Seconds to deliver what is pending at shutdown; -1 waits for ever.", example="5")] = (
        5.0
    )
    daemon: Annotated[bool, opt("Accepted; run the process under a supervisor instead.")] = False
    log_level: Annotated[LogLevel, opt("Least important level that is logged.", example="info")] = "info"
    log_file: Annotated[str | None, opt("Append log lines to this file instead of stderr.")] = None
    parsers_file: Annotated[tuple[str, ...], opt("File with [PARSER] and [MULTILINE_PARSER] sections.")] = ()
    http_server: Annotated[bool, opt("Serve the monitoring API.")] = False
    http_listen: Annotated[str, opt("Address of the monitoring API.")] = "127.0.0.1"
    http_port: Annotated[int, opt("Port of the monitoring API.")] = 2020
    storage_path: Annotated[str | None, opt("Folder for filesystem buffers.")] = field(
        default=None, name="storage.path"
    )
    scheduler_base: Annotated[Seconds, opt("First upper bound of the wait before a retry.")] = field(
        default=Seconds(5), name="scheduler.base"
    )
    scheduler_cap: Annotated[Seconds, opt("Longest wait before a retry.")] = field(
        default=Seconds(2000), name="scheduler.cap"
    )
    escape_unicode: Annotated[bool, opt("Write non-ASCII characters as \\uXXXX in JSON.")] = field(
        default=True, name="json.escape_unicode"
    )
    convert_nan_to_null: Annotated[bool, opt("Accepted; NaN and infinities are always written as null.")] = field(
        default=False, name="json.convert_nan_to_null"
    )
    multiline_buffer_limit: Annotated[ByteSize, opt("Longest text of a multiline record, 0 for no limit.")] = ByteSize(
        2_097_152
    )
