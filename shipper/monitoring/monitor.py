"""The monitoring of one process: the server, the pages, the health, and the numbers that only they need."""

from __future__ import annotations

import logging
from functools import partial

from ..clock import Clock
from ..config.service import ServiceOptions
from ..errors import ConfigError, Problem
from ..log import Log
from ..metrics import Counter, Metrics
from .health import Health
from .names import describe_process
from .pages import Pages, Reload
from .rates import InputRates
from .server import HttpServer
from .view import View, offer_gauges

SAMPLE_EVERY_S = 1.0

_LOGGER = "shipper"
_MESSAGE_TYPES = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


class Monitor:
    """Serves the monitoring API from `open` to `close`.

    It is opened before anything else, so that probes find it while a large backlog is looked through; `watch` tells it
    of the pipeline as soon as that runs. `reload` is called when somebody asks for a hot reload; True is its promise to
    do so, False says that one is going on. Without it hot reload is off. `reloads` have been done before.

    A `server` that listens already is taken over if it is at the right address, so that nobody finds the port closed
    while one pipeline takes the place of another. `before` is the health of that other one.
    """

    def __init__(
        self,
        service: ServiceOptions,
        metrics: Metrics,
        clock: Clock,
        reload: Reload | None = None,
        reloads: int = 0,
        server: HttpServer | None = None,
        before: Health | None = None,
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._clock = clock
        self._log = Log("[http_server] ")
        self.health = Health(service, clock)
        self._before = before
        self._pages = Pages(service, metrics, clock, self.health, reload if service.hot_reload else None)
        self._failures = metrics.counter("http_server_failures_total")
        host, port = service.http_listen, service.http_port
        self.has_taken_over = server is not None and server.is_at(host, port)
        if server is None or not self.has_taken_over:
            server = HttpServer(host, port, self._pages.answer, self._log, self._failures)
        self._server = server
        self._rates: InputRates | None = None
        self._counter = _LogCounter(metrics)
        self._reloads = reloads

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    async def open(self) -> None:
        """Listen; raises `ConfigError` if that cannot be."""
        host, port = self._service.http_listen, self._service.http_port
        if not 0 <= port <= 65535:
            message = f"[http_server] invalid monitoring tcp_port '{port}'"
            raise ConfigError([Problem(message, None, "http_port is a number up to 65535", 255)])
        try:
            if self.has_taken_over:
                self._server.answer_with(self._pages.answer, self._failures)
            else:
                await self._server.open()
        except OSError as error:
            message = f"[http_server] cannot listen on {host} port {port}: {error.strerror or error}"
            raise ConfigError([Problem(message, None, "choose others with http_listen and http_port", 255)]) from error
        describe_process(self._metrics, self._clock, self._reloads)
        logging.getLogger(_LOGGER).addHandler(self._counter)
        self._log.info(f"listen iface={host} tcp_port={self.port}")

    def watch(self, view: View) -> None:
        """Show this pipeline from now on."""
        offer_gauges(view, with_storage=self._service.storage_metrics)
        self.health.watch(view, self._before)
        self._before = None
        self._rates = InputRates(view, self._clock)
        for output in view.outputs:
            self._metrics.gauge("output_stalled_seconds", partial(self.health.stalled_s, output), name=output.name)
        self._pages.view = view

    async def run(self) -> None:
        """Look once a second how it goes, until cancelled."""
        while True:
            self.health.sample()
            if self._rates is not None:
                self._rates.sample()
            await self._clock.sleep(SAMPLE_EVERY_S)

    async def close(self) -> None:
        """End all connections and listen no more."""
        await self.release().close()

    def release(self) -> HttpServer:
        """The end of the monitor, but not of its server, which is given to the caller and listens on."""
        logging.getLogger(_LOGGER).removeHandler(self._counter)
        return self._server


class _LogCounter(logging.Handler):
    """Counts log lines by their level, as Fluent Bit calls it."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._counters: dict[int, Counter] = {
            level: metrics.counter("logger_logs_total", message_type=word) for word, level in _MESSAGE_TYPES.items()
        }
        self._trace = metrics.counter("logger_logs_total", message_type="trace")

    def emit(self, record: logging.LogRecord) -> None:
        self._counters.get(record.levelno, self._trace).add()
