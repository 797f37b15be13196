"""The TLS side of a listener; a renewed certificate is used for the next connection."""

from __future__ import annotations

import ssl
from typing import Any

from ...clock import Clock
from ...errors import OptionError
from ...log import Log
from ...net.tls import applied, file_identity, tls_version
from .options import ListenOptions

_LOOK_EVERY_S = 1.0


def check_tls(options: ListenOptions) -> None:
    """Raise `OptionError` if the options alone show that TLS cannot be used; no file is looked at."""
    if not options.tls_crt_file:
        raise OptionError("tls.crt_file", "is needed to listen with TLS", "name a PEM file with the certificate")
    if options.tls_verify_client_cert and not options.tls_ca_file and not options.tls_ca_path:
        remedy = "name the authority that signs the certificates of your senders"
        raise OptionError("tls.ca_file", "is needed for tls.verify_client_cert", remedy)
    for option, version in (("tls.min_version", options.tls_min_version), ("tls.max_version", options.tls_max_version)):
        if version:
            tls_version(option, version)


class ServerTls:
    """Gives a listener one context that follows its files; broken files leave the old ones in use."""

    def __init__(self, options: ListenOptions, clock: Clock, log: Log) -> None:
        self._options = options
        self._clock = clock
        self._log = log
        self._current = _new_context(options)
        self._seen = self._look()
        self._looked_at = clock.monotonic()

    def context(self) -> ssl.SSLContext:
        """The context for the listener."""
        context = _new_context(self._options)
        context.sni_callback = self._choose  # OpenSSL asks in every handshake, whether a name was sent or not
        return context

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        now = self._clock.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            found = self._look()
            if found != self._seen:
                self._seen = found
                self._reload()
        connection.context = self._current

    def _reload(self) -> None:
        try:
            self._current = _new_context(self._options)
        except OptionError as error:
            self._log.warning("TLS files have changed but cannot be used; the old ones stay in use", reason=error)
            return
        self._log.info("TLS files have changed; they are used for new connections")

    def _look(self) -> list[tuple[int, int, int] | None]:
        options = self._options
        files = (options.tls_ca_file, options.tls_ca_path, options.tls_crt_file, options.tls_key_file)
        return [file_identity(file) for file in files if file]


def _new_context(options: ListenOptions) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if options.tls_min_version:
        context.minimum_version = tls_version("tls.min_version", options.tls_min_version)
    if options.tls_max_version:
        context.maximum_version = tls_version("tls.max_version", options.tls_max_version)
    if (ciphers := options.tls_ciphers) is not None:
        applied("tls.ciphers", "is not a list of ciphers", lambda: context.set_ciphers(ciphers))
    crt, key, password = options.tls_crt_file or "", options.tls_key_file, options.tls_key_passwd or ""
    what = "cannot be used with its key and tls.key_passwd"
    # Without a password OpenSSL would ask for one at the terminal.
    applied("tls.crt_file", what, lambda: context.load_cert_chain(crt, key, password))
    if options.tls_verify_client_cert:
        _demand_certificates(context, options)
    return context


def _demand_certificates(context: ssl.SSLContext, options: ListenOptions) -> None:
    file, folder = options.tls_ca_file, options.tls_ca_path
    option = "tls.ca_file" if file else "tls.ca_path"
    applied(option, "holds no certificates", lambda: context.load_verify_locations(file, folder))
    context.verify_mode = ssl.CERT_REQUIRED
