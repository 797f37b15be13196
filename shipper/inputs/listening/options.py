"""Options of every input that listens."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from ...config.options import opt
from ...config.units import Seconds
from ...errors import OptionError
from ..base import InputOptions


class ListenOptions(InputOptions):
    """Options of every input to which senders connect."""

    proofs: ClassVar[str] = "tls.verify_client_cert"
    """The options by which senders on a stream are asked who they are."""

    listen: Annotated[
        str | None,
        opt(
            "Address to listen on; without it all addresses of the machine, IPv4 and IPv6.",
            example="127.0.0.1",
            aliases=("host",),
            core=True,
        ),
    ] = None
    ipv6: Annotated[bool, opt("Accepted; both address families are listened on.", core=True)] = False
    backlog: Annotated[int, opt("Connections that may wait to be accepted.")] = field(default=128, name="net.backlog")
    io_timeout: Annotated[Seconds, opt("Close a connection that brought nothing for so long; 0 for never.")] = field(
        default=Seconds(0), name="net.io_timeout"
    )
    accept_timeout: Annotated[Seconds, opt("Longest time for the handshakes of a new connection.")] = field(
        default=Seconds(10), name="net.accept_timeout"
    )
    accept_timeout_log_error: Annotated[bool, opt("Accepted; a failed handshake is a warning.")] = field(
        default=True, name="net.accept_timeout_log_error"
    )
    keepalive: Annotated[bool, opt("Find out whether idle senders are still there.")] = field(
        default=True, name="net.keepalive"
    )
    share_port: Annotated[bool, opt("Let other processes listen on the same port.")] = field(
        default=False, name="net.share_port"
    )
    tls: Annotated[bool, opt("Use TLS.", core=True)] = False
    tls_verify: Annotated[bool, opt("Accepted; tls.verify_client_cert asks for certificates.")] = field(
        default=True, name="tls.verify"
    )
    tls_verify_client_cert: Annotated[
        bool, opt("Let in only who has a certificate of tls.ca_file.", reads_empty=True)
    ] = field(default=False, name="tls.verify_client_cert")
    tls_debug: Annotated[int, opt("Accepted.")] = field(default=-1, name="tls.debug")
    tls_vhost: Annotated[str | None, opt("Accepted; there is one certificate.")] = field(default=None, name="tls.vhost")
    tls_ca_file: Annotated[str | None, opt("File with trusted certificates.")] = field(default=None, name="tls.ca_file")
    tls_ca_path: Annotated[str | None, opt("Folder with trusted certificates.")] = field(
        default=None, name="tls.ca_path"
    )
    tls_crt_file: Annotated[str | None, opt("File with our certificate.")] = field(default=None, name="tls.crt_file")
    tls_key_file: Annotated[str | None, opt("File with the key of our certificate.")] = field(
        default=None, name="tls.key_file"
    )
    tls_key_passwd: Annotated[str | None, opt("Password of the key.", secret=True)] = field(
        default=None, name="tls.key_passwd"
    )
    tls_min_version: Annotated[str | None, opt("Lowest version of TLS.", example="TLSv1.2")] = field(
        default=None, name="tls.min_version"
    )
    tls_max_version: Annotated[str | None, opt("Highest version of TLS.", example="TLSv1.3")] = field(
        default=None, name="tls.max_version"
    )
    tls_ciphers: Annotated[str | None, opt("Ciphers in the words of OpenSSL.")] = field(
        default=None, name="tls.ciphers"
    )

    def __post_init__(self) -> None:
        if self.tls_verify_client_cert and not self.tls:
            raise OptionError("tls.verify_client_cert", "nobody is asked for a certificate without TLS", "add tls on")

    @property
    def asks_for_proof(self) -> bool:
        """Whether senders on a stream have to prove who they are."""
        return self.tls_verify_client_cert

    @property
    def leaves_tags_to_senders(self) -> bool:
        """Whether senders may give their records any tag."""
        return False
