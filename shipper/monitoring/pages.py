"""The pages of the monitoring API, as Fluent Bit answers them, and those of our own.

Own pages: `/live` (the process answers), `/ready` (the pipeline runs), `/health` (progress, with all details),
`/ledger` (the account of every record) and `/config` (which configuration runs). They are there whatever the
configuration says.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import msgspec

from .. import COMPATIBLE_VERSION
from ..clock import Clock
from ..config.service import ServiceOptions
from ..metrics import Metrics
from ..plugins import plugin_names
from .exposition import render_lines, render_prometheus
from .health import Health, Verdict
from .names import RETRIES_FAILED, Family, collect
from .server import Answer, Request
from .view import View, chunks_of, plugin_numbers, storage_numbers

PROMETHEUS = "text/plain; version=0.0.4"
NOT_FOUND = Answer(404)

_FLAGS = (
    "FLB_HAVE_AWS",
    "FLB_HAVE_HTTP_SERVER",
    "FLB_HAVE_INOTIFY",
    "FLB_HAVE_METRICS",
    "FLB_HAVE_PARSER",
    "FLB_HAVE_RECORD_ACCESSOR",
    "FLB_HAVE_SQLDB",
    "FLB_HAVE_TLS",
)
_ONLY_LOCAL = b"only from this machine, unless hot_reload.token is set\n"
_SIZE_UNITS = "KMGTPE"
_V1_HELP = {
    "input_bytes": "Number of input bytes.",
    "input_records": "Number of input records.",
    "output_dropped_records": "Number of dropped records.",
    "output_errors": "Number of output errors.",
    "output_proc_bytes": "Number of processed output bytes.",
    "output_proc_records": "Number of processed output records.",
    "output_retried_records": "Number of retried records.",
    "output_retries": "Number of output retries.",
    "output_retries_failed": RETRIES_FAILED,
}

Reload = Callable[[], bool]
"""Asks for a reload; true if it will be done, false if one is going on."""


class Pages:
    """Answers requests about what is watched; before something is, only what needs no pipeline.

    `reload` is what a POST to the reload page calls; without it hot reload is off.
    """

    def __init__(
        self,
        service: ServiceOptions,
        metrics: Metrics,
        clock: Clock,
        health: Health,
        reload: Reload | None = None,
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._clock = clock
        self._health = health
        self._reload = reload
        self._started_ns = clock.time_ns()
        self._plugins: Answer | None = None
        self.view: View | None = None
        self._always: dict[str, Callable[[], Answer]] = {
            "/": self._about,
            "/live": lambda: Answer(body=b"ok\n"),
            "/ready": lambda: Answer(body=b"ok\n") if self.view else Answer(503, b"starting\n"),
            "/health": self._health_details,
            "/api/v1/uptime": self._uptime,
            "/api/v1/plugins": self._plugins_page,
            "/api/v2/metrics": self._metrics_lines,
            "/api/v2/metrics/prometheus": self._metrics_v2,
        }
        if service.health_check:
            self._always |= {"/api/v1/health": self._health_v1, "/api/v2/health": self._health_v2}
        self._of_view: dict[str, Callable[[View], Answer]] = {
            "/ledger": _ledger,
            "/config": lambda view: _json({"sha256": view.sha256, "files": view.files}),
            "/api/v1/metrics": lambda view: _json(plugin_numbers(view)),
            "/api/v1/metrics/prometheus": self._metrics_v1,
        }
        if service.storage_metrics:
            self._of_view["/api/v1/storage"] = _storage

    def uptime_s(self) -> int:
        return max(0, self._clock.time_ns() - self._started_ns) // 1_000_000_000

    def answer(self, request: Request) -> Answer:
        """The answer to a request. Nothing can be changed through this but by the reload page."""
        path, method = request.path, request.method
        if path == "/api/v2/reload":
            return self._reload_page(request)
        if path not in self._always and path not in self._of_view:
            return NOT_FOUND
        if method not in ("GET", "HEAD"):
            return Answer(405, headers=(("allow", "GET, HEAD"),))
        if path in self._always:
            return self._always[path]()
        return self._of_view[path](self.view) if self.view is not None else Answer(503, b"starting\n")

    # -- about the process -------------------------------------------------------------------------------------------

    def _about(self) -> Answer:
        about = {"version": COMPATIBLE_VERSION, "edition": "Community", "flags": _FLAGS}
        return _json({"fluent-bit": about})

    def _uptime(self) -> Answer:
        seconds = self.uptime_s()
        told = "Fluent Bit has been running:  " + uptime_text(seconds)
        return _json({"uptime_sec": seconds, "uptime_hr": told})

    def _plugins_page(self) -> Answer:
        if self._plugins is None:
            names = {f"{kind}s": plugin_names(kind) for kind in ("input", "filter", "output")}
            self._plugins = _json({"plugins": names})
        return self._plugins

    def _reload_page(self, request: Request) -> Answer:
        method = request.method
        if method in ("GET", "HEAD"):
            reloads = [value for name, _, value in self._metrics if name == "hot_reloaded_times"]
            return _json({"hot_reload_count": int(sum(reloads))})
        if method not in ("POST", "PUT"):
            return Answer(405, headers=(("allow", "GET, POST, PUT"),))
        if self._reload is None:
            return _json({"reload": "not enabled", "status": -1})
        if refusal := self._refusal(request):
            return refusal
        if not self._reload():
            return _json({"reload": "in progress", "status": -2}, 400)
        return _json({"reload": "done", "status": 0})

    def _refusal(self, request: Request) -> Answer | None:
        """The answer to who may not change anything: who lacks the token, or without one who is elsewhere."""
        if "origin" in request.headers:
            return Answer(403)  # a page in somebody's browser, which reaches the loopback, too
        token = self._service.reload_token
        if token is None:
            return None if request.is_local else Answer(403, _ONLY_LOCAL)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1", "replace"), token.encode()
        ):
            return None
        return Answer(401, headers=(("www-authenticate", "Bearer"),))

    # -- metrics -----------------------------------------------------------------------------------------------------

    def _metrics_v1(self, view: View) -> Answer:
        families, now_ms = _v1_families(view), self._clock.time_ns() // 1_000_000
        others = [
            Family(
                "fluentbit_uptime",
                "counter",
                "Number of seconds that Fluent Bit has been running.",
                {(): self.uptime_s()},
            ),
            Family(
                "process_start_time_seconds",
                "gauge",
                "Start time of the process since unix epoch in seconds.",
                {(): self._started_ns // 1_000_000_000},
            ),
            Family(
                "fluentbit_build_info",
                "gauge",
                "Build version information.",
                {(("version", COMPATIBLE_VERSION), ("edition", "Community")): 1},
            ),
            *(family for family in collect(self._metrics) if family.name.startswith("shipper_")),
        ]
        text = render_prometheus(families, now_ms) + render_prometheus(others)
        return Answer(body=text, content_type=PROMETHEUS)

    def _metrics_v2(self) -> Answer:
        return Answer(body=render_prometheus(collect(self._metrics)), content_type=PROMETHEUS)

    def _metrics_lines(self) -> Answer:
        return Answer(body=render_lines(collect(self._metrics), self._clock.time_ns()))

    # -- health ------------------------------------------------------------------------------------------------------

    def _health_v1(self) -> Answer:
        verdict = self._health.verdict()
        if verdict.is_good:
            return Answer(body=b"ok\n")
        return Answer(500, "\n".join(["error", *verdict.reasons, ""]).encode("utf-8", "replace"))

    def _health_v2(self) -> Answer:
        verdict, service = self._health.verdict(), self._service
        told = {
            "status": "ok" if verdict.is_good else "error",
            "errors": verdict.errors,
            "retries_failed": verdict.retries_failed,
            "error_limit": service.hc_errors_count,
            "retry_failure_limit": service.hc_retry_failure_count,
            "period_limit": service.hc_period,
        }
        return _json(told | ({} if verdict.is_good else {"reasons": verdict.reasons}), _status(verdict))

    def _health_details(self) -> Answer:
        verdict, view = self._health.verdict(), self.view
        outputs = {}
        for output in view.outputs if view else ():
            state = output.dispatcher.statistics()
            outputs[output.name] = {
                "held_records": state.held,
                "held_bytes": state.size,
                "kept_records": state.kept,
                "in_flight": state.in_flight,
                "stalled_sec": round(verdict.stalled_s[output.name], 3),
                "last_error": state.last_error,
            }
        told = {
            "status": "ok" if verdict.is_good else "error",
            "reasons": verdict.reasons,
            "warnings": verdict.warnings,
            "stalled_after_sec": self._health.stalled_after_s,
            "outputs": outputs,
        }
        return _json(told, _status(verdict))


def uptime_text(seconds: int) -> str:
    """A time in days, hours, minutes and seconds; a unit gets its plural above one."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    parts = [f"{n} {unit}{'s' if n > 1 else ''}" for n, unit in ((day, "day"), (hour, "hour"), (minute, "minute"))]
    return f"{', '.join(parts)} and {second} second{'s' if second > 1 else ''}"


def size_text(size: int) -> str:
    """A number of bytes as Fluent Bit shows it: `112b`, `95.4M`."""
    power = min(max(0, size.bit_length() - 1) // 10, len(_SIZE_UNITS))
    return f"{size / 1024**power:.1f}{_SIZE_UNITS[power - 1]}" if power else f"{size}b"


def _storage(view: View) -> Answer:
    inputs: dict[str, Any] = {}
    for seen in view.inputs:
        state, chunks = seen.buffer.statistics(), chunks_of(seen, view)
        inputs[seen.name] = {
            "status": {
                "overlimit": state.is_full,
                "mem_size": size_text(state.memory),
                "mem_limit": size_text(seen.mem_buf_limit),
            },
            "chunks": {
                "total": chunks.total,
                "up": chunks.up,
                "down": chunks.down,
                "busy": chunks.busy,
                "busy_size": size_text(chunks.busy_size),
            },
        }
    if view.has_storage:
        left = sum(buffer.statistics().batches for buffer in view.left)
        inputs[view.backlog_name] = {
            "status": {"overlimit": False, "mem_size": "0b", "mem_limit": "0b"},
            "chunks": {"total": left, "up": 0, "down": left, "busy": 0, "busy_size": "0b"},
        }
    return _json({"storage_layer": {"chunks": storage_numbers(view)}, "input_chunks": inputs})


def _ledger(view: View) -> Answer:
    inputs, outputs = view.ledger.inputs(), view.ledger.outputs()
    told = {
        "balanced": all(i.is_balanced for i in inputs) and all(o.is_balanced for o in outputs),
        "inputs": [msgspec.to_builtins(account) | {"balanced": account.is_balanced} for account in inputs],
        "outputs": [msgspec.to_builtins(account) | {"balanced": account.is_balanced} for account in outputs],
    }
    return _json(told)


def _v1_families(view: View) -> list[Family]:
    found: dict[str, Family] = {}
    for kind, instances in plugin_numbers(view).items():
        for instance, numbers in sorted(instances.items()):
            for what, number in numbers.items():
                name = f"{kind}_{what}"
                help = _V1_HELP.get(name, "Fluentbit metrics.")
                family = found.setdefault(name, Family(f"fluentbit_{name}_total", "counter", help, {}))
                family.numbers[(("name", instance),)] = number
    return [found[name] for name in sorted(found, key=lambda name: found[name].name)]


def _status(verdict: Verdict) -> int:
    return 200 if verdict.is_good else 500


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode(value), "application/json")
