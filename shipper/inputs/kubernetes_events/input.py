"""Kubernetes events, each once: by one shipper of a cluster, or by many of which one leads."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from ...context import Context, Emit
from ...errors import OptionError
from ...kubernetes.api import ApiServer
from ...kubernetes.lease import Election, LeaseSettings
from ...kubernetes.token import Token
from ...net.settings import TlsSettings
from ..base import Input
from ..unopened import unopened_database
from .collecting import Collecting
from .listing import LONGEST_PAGE
from .options import KubernetesEventsOptions, is_object_name
from .progress import Progress
from .seen import RecentlySeen
from .sent import DatabaseAway, SentEvent, SentEvents

REACHED = "shipper/resource-version"
"""The annotation of the lease that holds the version behind which everything was delivered."""

_ANSWER_TIMEOUT_S = 60.0
_TRY_AGAIN_S = 0.5
_LONGEST_NAMESPACE = 1024


class KubernetesEventsInput(Input):
    """Lists and watches events; with leader election `_is_collecting` says that we lead and know where to go on."""

    Options = KubernetesEventsOptions

    def __init__(self, options: KubernetesEventsOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        file, ttl = options.kube_token_file.strip(), options.kube_token_ttl
        token = Token(file, None, ttl, context.clock, context.log) if file else None
        self._api = ApiServer(
            options.kube_url,
            _tls(options),
            token,
            context,
            answer_limit=LONGEST_PAGE + 1,
            io_timeout=_ANSWER_TIMEOUT_S,
        )
        self._seen = RecentlySeen(options.kube_retention_time, context.clock.monotonic)
        self._sent: SentEvents | None = None
        if options.db is not None:
            from .database import EventDatabase

            self._sent = EventDatabase(
                options.db, options.db_sync, options.db_locking, options.db_journal_mode, context.log
            )
        self._saving: asyncio.Handle | None = None
        self._election: Election | None = None
        self._progress = Progress(self._note_progress)
        self._is_collecting = False

    def handed_over(self) -> tuple[Hashable, Any] | None:
        if self._sent is not None:
            return None
        self._seen.forget(self._progress.owed_hashes())
        return self.source, (self._seen, self._progress.reached)

    def go_on_from(self, handed_over: Mapping[Hashable, Any]) -> None:
        if self._sent is None and self.source in handed_over:
            self._seen, reached = handed_over[self.source]
            self._progress.begin(reached)

    @property
    def source(self) -> Hashable:
        options = self._options
        return "kubernetes_events", str(options.kube_url), options.kube_namespace, options.tag

    async def open(self) -> None:
        """Open the database, and find out which lease to hold."""
        url = self._options.kube_url
        if not url.is_tls and not url.has_port:
            self._log.warning(
                f"{url} means HTTP without TLS on port 443, which no API server speaks; write https://{url.host}"
            )
        if not self._options.kube_token_file.strip():
            self._log.info("kube_token_file is empty, so requests carry no token")
        if self._sent is not None:
            try:
                self._sent.open()
            except (OSError, DatabaseAway) as error:
                raise unopened_database(str(self._options.db), error) from error
        if self._options.kube_leader_election:
            self._election = Election(
                self._api, self._lease_settings(), self._context.clock, self._log, self._annotations
            )

    async def run(self, emit: Emit) -> None:
        """Emit events, with leader election only while we lead."""
        if self._election is None:
            await self._collecting().run(emit, self._progress)
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._election.run())
            while True:
                await self._election.until_gained()
                await self._lead(self._election, emit, tasks)

    async def close(self) -> None:
        """Write what was delivered, and let the next one lead from there."""
        if self._saving is not None:
            self._saving.cancel()
        if self._sent is not None:
            self._sent.close()
        if self._election is not None:
            await self._election.release()
        await self._api.close()

    async def _lead(self, election: Election, emit: Emit, tasks: asyncio.TaskGroup) -> None:
        """Collect until another one may lead."""
        self._progress.begin(str(election.annotations.get(REACHED, "")))
        self._is_collecting = True
        collecting = tasks.create_task(self._collecting().run(emit, self._progress))
        await election.until_lost()
        self._is_collecting = False
        collecting.cancel()
        await asyncio.wait([collecting])

    def _collecting(self) -> Collecting:
        return Collecting(
            self._api, self._options, self._context, self._seen, self._sent, self._delivered, self._may_emit
        )

    def _may_emit(self) -> bool:
        return self._election is None or self._election.leads

    def _annotations(self) -> Mapping[str, str]:
        reached = self._progress.reached
        return {REACHED: reached} if reached and self._is_collecting else {}

    def _note_progress(self) -> None:
        if self._election is not None:
            self._election.note()

    def _delivered(self, rows: list[SentEvent]) -> None:
        if self._sent is not None:
            self._sent.add([row for row in rows if row.uid])
            if self._saving is None:
                self._saving = asyncio.get_running_loop().call_soon(self._save)

    def _save(self) -> None:
        """Write what was delivered in this turn of the event loop; try again soon if that is not possible."""
        self._saving = None
        if self._sent is not None and not self._sent.flush():
            self._saving = asyncio.get_running_loop().call_later(_TRY_AGAIN_S, self._save)

    def _lease_settings(self) -> LeaseSettings:
        options = self._options
        # The same for all pods of a pipeline, and after a restart.
        parts = ["shipper", self._context.name, *([options.kube_namespace] if options.kube_namespace else [])]
        name = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
        return LeaseSettings(
            namespace=options.kube_leader_lease_namespace or _own_namespace(options.kube_namespace_file),
            name=options.kube_leader_lease_name or name,
            # Two processes must never be taken for one, not even on one host.
            identity=f"{socket.gethostname()}_{os.urandom(8).hex()}",
            duration_s=options.kube_leader_lease_duration,
        )


def _own_namespace(file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            name = opened.read(_LONGEST_NAMESPACE).decode("utf-8", "replace").strip()
    except OSError as error:
        raise OptionError(
            "kube_leader_lease_namespace",
            f"is not set, and {file} cannot be read: {error.strerror}",
            "set it to the namespace of the Lease",
        ) from error
    if not name or not is_object_name(name):
        raise OptionError("kube_namespace_file", f"{file} does not hold the name of a namespace")
    return name


def _tls(options: KubernetesEventsOptions) -> TlsSettings:
    return TlsSettings(
        verify=options.tls_verify,
        verify_hostname=options.tls_verify_hostname,
        vhost=options.tls_vhost,
        ca_file=options.kube_ca_file,
        ca_path=options.kube_ca_path,
    )
