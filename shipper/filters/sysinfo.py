"""Append facts about the machine and the program."""

from __future__ import annotations

import os
import socket
from typing import Annotated

from .. import __version__
from ..config.options import opt
from ..context import Context
from ..record import RecordBatch
from .base import Filter, FilterOptions


class SysinfoOptions(FilterOptions):
    """Options of the sysinfo filter; each names the field that is added."""

    fluentbit_version_key: Annotated[str | None, opt("Field for the version of this program.")] = None
    os_name_key: Annotated[str | None, opt("Field for the name of the operating system.")] = None
    hostname_key: Annotated[str | None, opt("Field for the name of the machine.", example="host")] = None
    os_version_key: Annotated[str | None, opt("Field for the version of the operating system.")] = None
    kernel_version_key: Annotated[str | None, opt("Field for the release of the kernel.")] = None


class SysinfoFilter(Filter):
    """Appends the facts that were chosen; they are looked up once."""

    Options = SysinfoOptions

    def __init__(self, options: SysinfoOptions, context: Context) -> None:
        system = os.uname()
        facts = (
            (options.fluentbit_version_key, __version__),
            (options.os_name_key, system.sysname.lower()),
            (options.hostname_key, socket.gethostname()),
            (options.os_version_key, system.version),
            (options.kernel_version_key, system.release),
        )
        self._fields = {key: value for key, value in facts if key is not None}

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        fields = self._fields
        for record in batch.records:
            body = record.body
            for key in fields.keys() & body.keys():
                del body[key]
            body.update(fields)
        return batch
