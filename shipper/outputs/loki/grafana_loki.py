"""Deliver to Grafana Loki, configured as for the plugin in Go."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Self
from urllib.parse import unquote, urlsplit

import msgspec

from ...codecs.template import KeyPath, Template
from ...config.options import opt
from ...config.units import Seconds
from ...context import Context
from ...errors import OptionError
from ..base import NetworkOptions, RetryLimit
from .lines import LineFormat
from .output import LokiOptions, LokiOutput, SingleKey
from .rules import KeyRule, RemovedPath, Rule, label_name, value_at

_URL = "http://localhost:3100/loki/api/v1/push"
_PAIR = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
_UNITS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class GoDuration(float):
    """A duration in seconds, written as `500ms`, `10s`, `5m`, or a number of seconds."""

    shown_as: ClassVar[str] = "time"

    @classmethod
    def parse(cls, text: str) -> Self:
        found = _DURATION.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is not a duration; write 500ms, 10s or 5m")
        return cls(float(found[1]) * _UNITS[found[2]])

    def __str__(self) -> str:
        return f"{float(self):g}s"


class LabelSet:
    """Labels with fixed values, written as `{job="fluent-bit"}`."""

    shown_as: ClassVar[str] = "labels"

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules

    @classmethod
    def parse(cls, text: str) -> Self:
        inner = text.strip()
        if inner[:1] != "{" or inner[-1:] != "}":
            raise ValueError('labels are written as {job="name", env="test"}')
        inner, rules, at = inner[1:-1].strip(), list[Rule](), 0
        while at < len(inner):
            found = _PAIR.match(inner, at)
            if found is None:
                raise ValueError(f"no label can be read at {inner[at:]!r}")
            value = re.sub(r"\\(.)", r"\1", found[2])
            rules.append(Rule(found[1], Template(value, [value], [])))
            at = found.end()
        return cls(tuple(rules))


class GrafanaLokiOptions(NetworkOptions, kw_only=True):
    """Options of the output `grafana-loki`."""

    url: Annotated[str, opt("Where records are pushed to.", secret_path=True)] = _URL
    tenant_id: Annotated[str | None, opt("Tenant, sent as X-Scope-OrgID.")] = msgspec.field(
        default=None, name="tenantid"
    )
    batch_wait: Annotated[GoDuration, opt("Accepted; the service's flush is used.")] = msgspec.field(
        default=GoDuration(1), name="batchwait"
    )
    batch_size: Annotated[int, opt("Accepted; requests are as large as Loki likes them.")] = msgspec.field(
        default=1_048_576, name="batchsize"
    )
    timeout: Annotated[GoDuration, opt("Longest time for a whole request.")] = GoDuration(10)
    min_backoff: Annotated[GoDuration, opt("Accepted; scheduler.base is used.")] = msgspec.field(
        default=GoDuration(0.5), name="minbackoff"
    )
    max_backoff: Annotated[GoDuration, opt("Accepted; scheduler.cap is used.")] = msgspec.field(
        default=GoDuration(300), name="maxbackoff"
    )
    max_retries: Annotated[int | None, opt("Retries; without it records are retried until delivered.")] = msgspec.field(
        default=None, name="maxretries"
    )
    labels: Annotated[LabelSet | None, opt("Labels of all streams.", example='{job="fluent-bit"}')] = None
    plugin_log_level: Annotated[str, opt("Accepted; log_level is used.")] = msgspec.field(
        default="info", name="loglevel"
    )
    remove_keys: Annotated[tuple[RemovedPath, ...], opt("Keys that are left out of the line.", split=",")] = (
        msgspec.field(default=(), name="removekeys")
    )
    auto_kubernetes_labels: Annotated[bool, opt("Let all labels of the pod be labels of the stream.")] = msgspec.field(
        default=False, name="autokuberneteslabels"
    )
    label_keys: Annotated[tuple[str, ...], opt("Keys whose values become labels.", split=",", example="stream")] = (
        msgspec.field(default=(), name="labelkeys")
    )
    line_format: Annotated[LineFormat, opt("Form of the line.")] = msgspec.field(default="json", name="lineformat")
    drop_single_key: Annotated[bool, opt("If one key is left, its value alone is the line.")] = msgspec.field(
        default=True, name="dropsinglekey"
    )
    label_map_path: Annotated[
        str | None, opt("JSON file whose leaves are names of labels; label keys yield to it.")
    ] = msgspec.field(default=None, name="labelmappath")
    buffer: Annotated[bool, opt("Accepted; storage.type of the input decides.")] = False
    buffer_type: Annotated[str | None, opt("Accepted; storage.type of the input decides.")] = msgspec.field(
        default=None, name="buffertype"
    )
    dque: Annotated[tuple[str, ...], opt("Accepted; storage.path of the service is used.", family="dque")] = ()

    def __post_init__(self) -> None:
        if self.max_retries is not None and self.retry_limit is None:
            self.retry_limit = RetryLimit(max(0, self.max_retries))

    def loki_options(self) -> LokiOptions:
        """The same as options of the output `loki`."""
        try:
            url = urlsplit(self.url)
            port = url.port
        except ValueError as error:
            raise OptionError("url", f"{self.url!r} is not a URL", f"for example: url {_URL}") from error
        if url.scheme not in ("http", "https") or not url.hostname:
            raise OptionError("url", f"{self.url!r} is not a URL", f"for example: url {_URL}")
        shared = {name: getattr(self, name) for name in NetworkOptions.__struct_fields__}
        shared |= {
            "host": url.hostname,
            "port": port or (443 if url.scheme == "https" else 80),
            "tls": url.scheme == "https",
            "io_timeout": self.io_timeout or Seconds(self.timeout),
        }
        labels = self.labels.rules if self.labels else (Rule("job", Template("fluent-bit", ["fluent-bit"], [])),)
        keys = () if self.label_map_path else self.label_keys
        return LokiOptions(
            **shared,
            uri=f"{url.path or '/'}{f'?{url.query}' if url.query else ''}",
            tenant_id=self.tenant_id or None,
            labels=labels,
            label_keys=tuple(KeyRule(label_name(key), value_at(KeyPath(key))) for key in keys),
            label_map_path=self.label_map_path,
            auto_kubernetes_labels=self.auto_kubernetes_labels,
            remove_keys=self.remove_keys,
            drop_single_key=SingleKey("raw" if self.drop_single_key else "off"),
            line_format=self.line_format,
            push_format="protobuf",
            http_user=unquote(url.username) if url.username else None,
            http_passwd=unquote(url.password or ""),
        )


class GrafanaLokiOutput(LokiOutput):
    """Sends records to Loki in its protobuf form, as the plugin in Go does."""

    Options = GrafanaLokiOptions  # type: ignore[assignment]  # its options are translated, not extended

    def __init__(self, options: GrafanaLokiOptions, context: Context) -> None:
        super().__init__(options.loki_options(), context)
