"""Store records in OpenSearch."""

from __future__ import annotations

from .bulk import BulkOutput
from .options import BulkOptions


class OpensearchOptions(BulkOptions):
    """Options of the output `opensearch`."""


class OpensearchOutput(BulkOutput):
    """Stores records in OpenSearch; the index may be filled in from the record."""

    Options = OpensearchOptions
    fills_in_index = True
