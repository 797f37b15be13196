"""TLS contexts that follow their files: a renewed certificate is used for the next connection."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path

from ..clock import Clock
from ..errors import OptionError
from ..log import Log
from .settings import TlsSettings

_LOOK_EVERY_S = 1.0
_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


def new_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context as the settings ask for it; raises `OptionError` that names the option which cannot be used."""
    for option, file in (
        ("tls.ca_file", settings.ca_file),
        ("tls.crt_file", settings.crt_file),
        ("tls.key_file", settings.key_file),
    ):
        if file and not Path(file).is_file():
            raise OptionError(option, f"{file} is not a file")
    if settings.ca_path and not Path(settings.ca_path).is_dir():
        raise OptionError("tls.ca_path", f"{settings.ca_path} is not a folder")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.verify and settings.verify_hostname
    context.verify_mode = ssl.CERT_REQUIRED if settings.verify else ssl.CERT_NONE
    if settings.min_version:
        context.minimum_version = tls_version("tls.min_version", settings.min_version)
    if settings.max_version:
        context.maximum_version = tls_version("tls.max_version", settings.max_version)
    if settings.ciphers:
        applied("tls.ciphers", "is not a list of ciphers", lambda: context.set_ciphers(settings.ciphers or ""))
    if settings.verify:
        _load_trusted(context, settings)
    if settings.crt_file:
        _load_own(context, settings.crt_file, settings)
    return context


class TlsContext:
    """The context of the moment. Files are looked at at most once a second; broken ones leave the old one in use."""

    def __init__(self, settings: TlsSettings, clock: Clock, log: Log) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._files = [f for f in (settings.ca_file, settings.ca_path, settings.crt_file, settings.key_file) if f]
        self._seen = self._look()
        self._looked_at = clock.monotonic()
        self._context = new_context(settings)

    def current(self) -> ssl.SSLContext:
        """The context to make the next connection with."""
        now = self._clock.monotonic()
        if self._files and now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            found = self._look()
            if found != self._seen:
                self._seen = found
                self._reload()
        return self._context

    def _reload(self) -> None:
        try:
            self._context = new_context(self._settings)
        except OptionError as error:
            self._log.warning("TLS files have changed but cannot be used; the old ones stay in use", reason=error)
            return
        self._log.info("TLS files have changed; they are used for new connections")

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [file_identity(file) for file in self._files]


def file_identity(file: str) -> tuple[int, int, int] | None:
    """What differs when a file has changed; None if it is not there."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _load_trusted(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if not settings.ca_file and not settings.ca_path:
        context.load_default_certs()
        return
    option = "tls.ca_file" if settings.ca_file else "tls.ca_path"
    load = context.load_verify_locations
    applied(option, "holds no certificates", lambda: load(settings.ca_file or None, settings.ca_path or None))


def _load_own(context: ssl.SSLContext, crt_file: str, settings: TlsSettings) -> None:
    # Without a password OpenSSL would ask for one at the terminal.
    password = settings.key_passwd or ""
    applied(
        "tls.crt_file",
        "cannot be used with its key and tls.key_passwd",
        lambda: context.load_cert_chain(crt_file, settings.key_file or None, password),
    )


def tls_version(option: str, text: str) -> ssl.TLSVersion:
    """The version that an option names; raises `OptionError`."""
    name = text.strip().lower().removeprefix("tls").removeprefix("v").lstrip("_ ").replace("_", ".")
    found = _VERSIONS.get("1.0" if name == "1" else name)
    if found is None:
        raise OptionError(option, f"{text!r} is not a TLS version", f"possible are {', '.join(_VERSIONS)}")
    return found


def applied(option: str, what: str, act: Callable[[], None]) -> None:
    """Do what an option asks for; what OpenSSL or the system refuses is an `OptionError` that names it."""
    try:
        act()
    except (ssl.SSLError, OSError, ValueError) as error:
        raise OptionError(option, f"{what}: {error}") from error
