"""How clients get to the endpoint of their service."""

from __future__ import annotations

import os
import ssl
from urllib.parse import urlsplit

import msgspec
from botocore.httpsession import where as shipped_certificates

from ..net.settings import HttpSettings, TlsSettings
from .settings import AwsSettings


def http_settings(url: str, settings: AwsSettings, answer_limit: int) -> HttpSettings:
    """The settings of a client for the host of this URL."""
    parts = urlsplit(url)
    tls = _trusting(settings.tls) if parts.scheme == "https" else None
    return HttpSettings(
        host=parts.hostname or "",
        port=parts.port or (443 if tls else 80),
        tls=tls,
        connect_timeout=settings.connect_timeout,
        io_timeout=settings.io_timeout,
        keepalive=settings.keepalive,
        idle_timeout=settings.idle_timeout,
        requests_each=settings.requests_each,
        tcp_keepalive=settings.tcp_keepalive,
        connections=settings.connections,
        source_address=settings.source_address,
        use_proxy=settings.use_proxy,
        resend=False,  # whoever calls must know that the service may have acted on it
        answer_limit=answer_limit,
    )


def _trusting(chosen: TlsSettings) -> TlsSettings:
    """The settings with trusted certificates: those asked for, else those of the system, else those botocore brings."""
    if not chosen.verify or chosen.ca_file or chosen.ca_path:
        return chosen
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        return msgspec.structs.replace(chosen, ca_file=bundle)
    paths = ssl.get_default_verify_paths()
    has_some = paths.cafile is not None or (paths.capath is not None and bool(os.listdir(paths.capath)))
    return chosen if has_some else msgspec.structs.replace(chosen, ca_file=str(shipped_certificates()))
