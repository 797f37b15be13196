"""The options of the kubernetes_events input."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from ...config.options import opt
from ...config.units import ByteSize, Seconds
from ...errors import OptionError
from ...kubernetes.url import KubeUrl
from ..base import InputOptions

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_SHORTEST_LEASE_S = 3
JournalMode = Literal["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"]


class KubernetesEventsOptions(InputOptions):
    """Options of the kubernetes_events input."""

    # The API server keeps events for an hour, so little is gained by holding many.
    mem_buf_limit: Annotated[
        ByteSize, opt("Memory that records of this input may take; 0 for the built-in bound.", example="50M", core=True)
    ] = ByteSize(1_000_000)
    kube_url: Annotated[KubeUrl, opt("API server.", example="https://kubernetes.default.svc:443")] = KubeUrl.parse(
        "https://kubernetes.default.svc"
    )
    kube_ca_file: Annotated[str, opt("CA certificates for the API server.")] = f"{_ACCOUNT}/ca.crt"
    kube_ca_path: Annotated[str | None, opt("Folder with CA certificates.")] = None
    kube_token_file: Annotated[
        str, opt('File with the bearer token; empty (`""` in YAML) for requests without one.', reads_empty=True)
    ] = f"{_ACCOUNT}/token"
    kube_token_ttl: Annotated[Seconds, opt("Age at which the token is read again.")] = Seconds(600)
    kube_request_limit: Annotated[
        int, opt("Events in one answer to a list; 0 for all if they are few, else for small pages.", example="500")
    ] = 0
    kube_retention_time: Annotated[
        Seconds, opt("Events that happened longer before collecting began are not emitted.")
    ] = Seconds(3600)
    kube_namespace: Annotated[str | None, opt("Only the events of this namespace.", example="default")] = None
    kube_watch_timeout: Annotated[
        Seconds, opt("Time after which a watch is begun anew; 0 leaves it to the server.")
    ] = Seconds(600)
    kube_updates: Annotated[
        bool | None,
        opt(
            "Emit an event again when it recurs and its count grows; by default on without `db` and off with one. With"
            " off an event that recurs after a change of leader is emitted again: the next leader does not know it."
        ),
    ] = None
    kube_leader_election: Annotated[
        bool,
        opt(
            "Collect only while holding a Lease, so that of many shippers one sends the events. They then wait in"
            " memory only, also with a `storage.path`: the next leader does not see the disk of this one."
        ),
    ] = False
    kube_leader_lease_name: Annotated[
        str | None,
        opt(
            "Name of that Lease. All pods of one pipeline use the same, and no other pipeline in its namespace may: it"
            " would wait and send nothing. Default is made of the instance name and `kube_namespace`.",
            example="shipper-events",
        ),
    ] = None
    kube_leader_lease_namespace: Annotated[
        str | None, opt("Namespace of that Lease; default is the own one.", example="logging")
    ] = None
    kube_leader_lease_duration: Annotated[
        Seconds, opt("Time without a renewal after which another one takes the Lease.")
    ] = Seconds(15)
    kube_namespace_file: Annotated[str, opt("File with the own namespace.")] = f"{_ACCOUNT}/namespace"
    interval_sec: Annotated[int, opt("Seconds between a watch that has ended and the next one.")] = 0
    interval_nsec: Annotated[int, opt("Nanoseconds added to interval_sec.")] = 500_000_000
    dns_retries: Annotated[int, opt("Accepted; a name is looked up in every interval until it is known.")] = 6
    dns_wait_time: Annotated[Seconds, opt("Accepted and without effect.")] = Seconds(30)
    tls_debug: Annotated[int, opt("Accepted and without effect.")] = field(default=0, name="tls.debug")
    tls_verify: Annotated[bool, opt("Check the certificate of the API server.")] = field(
        default=True, name="tls.verify"
    )
    tls_vhost: Annotated[str | None, opt("Host name for TLS, instead of that of the URL.")] = field(
        default=None, name="tls.vhost"
    )
    tls_verify_hostname: Annotated[bool, opt("Check that the certificate is for the host.")] = field(
        default=False, name="tls.verify_hostname"
    )
    db: Annotated[str | None, opt("SQLite file that keeps which events were sent.")] = None
    db_sync: Annotated[Literal["extra", "full", "normal", "off"], opt("SQLite's synchronous mode.")] = field(
        default="normal", name="db.sync"
    )
    db_locking: Annotated[bool, opt("Keep other programs out of the database.")] = field(
        default=False, name="db.locking"
    )
    db_journal_mode: Annotated[JournalMode, opt("SQLite's journal mode.")] = field(
        default="WAL", name="db.journal_mode"
    )

    def __post_init__(self) -> None:
        """Refuse what no API server or lease can be asked for."""
        for name in ("kube_namespace", "kube_leader_lease_name", "kube_leader_lease_namespace"):
            value = getattr(self, name)
            if value is not None and not is_object_name(value):
                raise OptionError(name, f"{value!r} cannot be the name of an object in Kubernetes")
        if self.kube_leader_election and self.storage_type == "filesystem":
            raise OptionError(
                "storage.type",
                "filesystem would count events as delivered that only the disk of this leader has",
                "write storage.type memory, or leave kube_leader_election off",
            )
        if self.kube_leader_lease_duration < _SHORTEST_LEASE_S:
            raise OptionError("kube_leader_lease_duration", f"it is at least {_SHORTEST_LEASE_S}s")

    @property
    def may_be_stored(self) -> bool:
        return not self.kube_leader_election

    @property
    def interval_s(self) -> float:
        """Seconds between two attempts to list or watch."""
        return max(0, self.interval_sec) + max(0, self.interval_nsec) / 1e9 or 0.5

    @property
    def emits_updates(self) -> bool:
        return self.db is None if self.kube_updates is None else self.kube_updates


def is_object_name(text: str) -> bool:
    """Whether a text may stand in the path of a request as the name of an object."""
    letters = text.replace("-", "").replace(".", "")
    return len(text) <= 253 and letters.isascii() and letters.isalnum() and text[0].isalnum()
