"""Store records in Elasticsearch."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated

from ...config.options import opt
from ...context import Context
from ...errors import OptionError
from ..http_options import basic_authorization, header_value
from ..upstream import options_of_nodes
from .bulk import BulkOutput
from .options import BulkOptions


class EsOptions(BulkOptions, kw_only=True):
    """Options of the output `es`."""

    http_api_key: Annotated[str | None, opt("API key for authentication.", secret=True)] = None
    cloud_id: Annotated[str | None, opt("Cloud id of an Elastic Cloud deployment.")] = None
    cloud_auth: Annotated[str | None, opt("User and password for it.", example="elastic:secret", secret=True)] = None
    upstream: Annotated[str | None, opt("File that names several servers, used in turns.")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cloud_id is not None:
            self.host, self.port = _server_of(self.cloud_id)
            self.tls = True

    def authorization(self) -> str | None:
        if self.cloud_auth:
            return basic_authorization(*self.cloud_auth.partition(":")[::2])
        if self.http_user or not self.http_api_key:
            return super().authorization()
        return f"ApiKey {header_value(self.http_api_key)}"


class EsOutput(BulkOutput):
    """Stores records in Elasticsearch, or in several servers in turns."""

    Options = EsOptions

    def __init__(self, options: EsOptions, context: Context) -> None:
        super().__init__(options, context)
        self._upstream = options.upstream

    def nodes(self) -> Sequence[BulkOptions]:
        return options_of_nodes(self._options, self._upstream)


def _server_of(cloud_id: str) -> tuple[str, int]:
    """Host and port of a deployment: `name:base64(host[:port]$deployment$…)`."""
    try:
        parts = base64.b64decode(cloud_id.rpartition(":")[2], validate=True).decode().split("$")
        domain, _, port = parts[0].partition(":")
        host, number = f"{parts[1]}.{domain}", int(port or 443)
    except (binascii.Error, ValueError, IndexError) as error:
        raise OptionError("cloud_id", "is not a cloud id", "copy it from the page of the deployment") from error
    return host, number
