"""Deliver to Amazon S3: records are collected in files on disk, which become objects.

A delivery ends in a spool on disk (`spool`) and leaves memory; what it owes its input is paid when the object is in S3.
So nothing depends on the disk: if the store is lost, the input reads again what was in it. And if it is not lost, what
is found in it after a kill is sent under the key it had, and what the input reads again is recognised (`recovery`).

Records are told from each other by their line and their time, and by where they come from. Those of inputs that take
the time of reading for the time of a record look new when they are read again, so after a kill such records are in the
bucket twice, never not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import msgspec

from ...aws.messages import FilePart
from ...buffers.base import BatchLimits, Delivery
from ...codecs.json_lines import JsonEncoder
from ...codecs.otlp_json import chosen_otlp
from ...context import Context
from ...errors import Counts, OptionError, RetryLater
from ...record import Origin, RecordBatch
from ...retry import Backoff
from ..base import Output
from .bucket import Bucket
from .content import LineMaker, Lines
from .debts import Debts
from .keys import KeyFormat
from .known import KnownRecords
from .left_behind import LeftBehind
from .left_uploads import LeftUploads
from .options import PART_LEAST, S3Options
from .ownership import NotOurs
from .sending import Sender
from .spool import Sheet, Spool, new_name, stretches_of
from .store import Store, StoreInUse
from .taking_over import TakingOver
from .uploads import Uploads

if TYPE_CHECKING:
    from ...aws.rest import RestClient

P = ParamSpec("P")

_MOST_PIECES = 9_999
_STORE_WARNING = 0.95
_TELL_EVERY_S = 60.0
_DISK_RETRY_S = 1.0


class _Open(msgspec.Struct, eq=False):
    """A spool that records are added to, until `due` at the latest."""

    spool: Spool
    due: float


class _Taken(msgspec.Struct):
    """A delivery whose lines are made; `others` already held some of its records.

    `rest` are lines that no spool has taken yet, if any are left. Then `open` has them, whether or not the disk has.
    """

    others: list[tuple[Spool, int]]
    rest: Lines | None
    records: int
    open: _Open | None = None

    def owners(self) -> list[tuple[Spool, int]]:
        """The spools that must get to S3 before the delivery is done."""
        all_of_them = [*self.others, *([(self.open.spool, self.records)] if self.open else [])]
        return [(spool, records) for spool, records in all_of_them if spool.owes]


class S3Output(Output):
    """Collects records by tag and puts them into a bucket as objects."""

    Options = S3Options

    # A block of tail goes to its spool while it is in the cache; nothing is gained by collecting more.
    limits = BatchLimits(size=250_000, records=20_000)
    concurrency = 8

    def __init__(self, options: S3Options, context: Context) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        self._clock = context.clock
        json = JsonEncoder(context.service.escape_unicode)
        self._lines = LineMaker(
            json, options.date_key, options.json_date_format, options.log_key, chosen_otlp(options.format, json)
        )
        self._keys = KeyFormat(
            text=options.s3_key_format,
            delimiters=options.s3_key_format_tag_delimiters,
            is_static=options.static_file_path,
        )
        self._store = Store(
            Path(options.store_dir), options.bucket, context.alias, options.base_url, context.disk, context.log
        )
        self._known = KnownRecords(context.clock, context.log)
        self._backoff = Backoff(context.service.scheduler_base, context.service.scheduler_cap)
        self._taking_over = self._new_taking_over()
        self._debts = Debts()
        self._client: RestClient | None = None
        self._bucket: Bucket | None = None
        self._uploads: Uploads | None = None
        self._open: dict[str, _Open] = {}
        self._close_all = False

    def lane(self, batch: RecordBatch) -> Hashable:
        """The tag: each tag has objects of its own."""
        return batch.tag

    def expect(self, batch: RecordBatch) -> None:
        self._lines.encode_early(batch.content)

    async def open(self) -> None:
        options = self._options
        options.check_files()
        for remark in options.remarks():
            self._log.warning(remark)
        if options.columnar and find_spec("pyarrow") is None:
            raise OptionError("format", f"{options.columnar} needs pyarrow", "pip install 'shipper[parquet]'")
        # Only now: the libraries are large, and a process without this output must not carry them.
        from ...aws.rest import RestClient

        self._client = client = RestClient("s3", options.base_url, options.aws_settings())
        await client.open()
        self._context.count_connections(lambda: client.connections)
        try:
            left = self._store.open()
        except (OSError, StoreInUse, NotOurs) as error:
            raise OptionError("store_dir", f"{options.store_dir} cannot be used: {error}") from error
        # In a thread, because it may take seconds, and other outputs are at work already.
        await asyncio.to_thread(self._known.learn, left)
        self._bucket = self._new_bucket(self._client)
        self._uploads = self._new_uploads(self._bucket)
        for spool in left:
            self._uploads.add(spool)
        if left:
            self._log.info("objects of an earlier process are sent", objects=len(left))
        if options.puts_whole and not (options.use_put_object or options.columnar):
            self._log.info("total_file_size is less than 10 MB, will use PutObject API")

    async def send(self, delivery: Delivery) -> None:
        """Add the records to the spool of their tag.

        It compresses and writes without giving way to others: that is a millisecond for a full delivery, and a thread
        for it costs a quarter more CPU and is slower besides.
        """
        uploads = self._running()
        taken = delivery.progress
        if taken is None:
            self._demand_room(delivery, uploads)
            # From here on what was recognised counts as met: a retry must not look for it again.
            taken = delivery.progress = self._made_of(delivery)
        if taken.rest is not None:
            self._take(delivery, taken, taken.rest, uploads)
        elif taken.open is not None:
            self._written(taken.open.spool.write_out)
        owners = taken.owners()
        if owners:
            owed = self._debts.add(delivery, len(owners))
            for spool, records in owners:
                spool.owed.append((owed, records))
        for spool, records in taken.others:
            self._known.met(spool, records)
            uploads.recognised(spool)
            if spool.is_deleted:  # it was given up while the disk took nothing
                delivery.refuse(records, "retries_exhausted")

    async def work(self) -> None:
        """Close spools in time and send them."""
        uploads = self._running()
        try:
            for spool in self._store.take_over():
                self._log.info("an object of an output that is gone is sent", key=spool.sheet.key)
                uploads.add(spool)
        except OSError as error:
            self._log.error("cannot look for what outputs that are gone have left in store_dir", reason=error)
        self._taking_over.claim(self._store.folder)
        async with asyncio.TaskGroup() as tasks:
            if self._bucket is not None:
                tasks.create_task(
                    self._taking_over.run(self._new_sheet, self._options.date_key, uploads.add, self._bucket)
                )
            while True:
                uploads.wake.clear()
                self._close_due()
                # In this order: what is not expected any more may leave the disk.
                waits = [self._known.forget_in(), uploads.start_ready(tasks)]
                now = self._clock.monotonic()
                waits += [max(0.0, one.due - now) for one in self._open.values()]
                await self._clock.wait(uploads.wake, min((w for w in waits if w is not None), default=None))

    def overdue_s(self) -> float:
        return self._uploads.overdue_s() if self._uploads is not None else 0.0

    def trouble(self) -> str:
        return self._uploads.trouble() if self._uploads is not None else ""

    def flush(self) -> None:
        if self._uploads is not None:
            self._close_all = True
            self._uploads.try_all_now()

    async def close(self) -> None:
        if self._uploads is not None:
            self._uploads.close()
        self._store.close()
        if self._client is not None:
            await self._client.close()

    # -- records into spools -----------------------------------------------------------------------------------------

    def _made_of(self, delivery: Delivery) -> _Taken:
        """The lines of a delivery, but for those that a spool has already."""
        made = self._lines.make(delivery.batches)
        if made.missing:
            said = f"Could not find log_key '{self._options.log_key}' in record"
            self._log.error(said, every=_TELL_EVERY_S)
            which = partial(self._lines.without_line, delivery.batches)
            delivery.refuse(made.missing, "missing_log_key", which, message=said)
        others = self._known.take_out(delivery.batches[0].tag, made, _origins(delivery))
        return _Taken(others, made if made.records else None, made.records)

    def _take(self, delivery: Delivery, taken: _Taken, made: Lines, uploads: Uploads) -> None:
        one = self._open_for(delivery, uploads)
        # From here on the spool has the lines, even if the disk has not: a retry must not add them again.
        taken.open, taken.rest = one, None
        self._written(one.spool.append, made.text, made.notes(), stretches_of(_origins(delivery), made.counts))
        self._end_if_full(one, uploads)

    def _open_for(self, delivery: Delivery, uploads: Uploads) -> _Open:
        first = delivery.batches[0]
        tag = first.tag
        found = self._open.get(tag)
        if found is not None:
            return found
        name = new_name(self._clock.time_ns())
        try:
            sheet = self._new_sheet(tag, first.content.times_ns()[0])
            spool = Spool(self._store.folder, name, sheet, self._context.disk, has_identities=not self._lines.is_dated)
            spool.save()
        except OSError as error:
            raise self._disk_trouble(error) from error
        due = self._clock.monotonic() + float(self._options.upload_timeout)
        one = self._open[tag] = _Open(spool, due)
        uploads.add(spool)
        return one

    def _new_sheet(self, tag: str, first_ns: int) -> Sheet:
        """The sheet of a new object; raises `OSError` if the disk does not take the next $INDEX."""
        keys, options = self._keys, self._options
        counter = self._store.next_counter(keys.prefix(tag, first_ns)) if keys.uses_counter else 0
        return Sheet(
            key=keys.key(tag, first_ns, counter),
            tag=tag,
            first_ns=first_ns,
            compression="none" if options.columnar else options.codec,
            is_unique=keys.is_unique,
            columnar=options.columnar,
        )

    def _written(self, write: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
        try:
            write(*arguments, **named)
        except OSError as error:
            raise self._disk_trouble(error) from error

    def _disk_trouble(self, error: OSError) -> RetryLater:
        told = f"cannot write to store_dir: {error}"
        self._log.error(f"{told}; records are held", every=_TELL_EVERY_S)
        return RetryLater(told, counts=Counts.NEVER)

    def _demand_room(self, delivery: Delivery, uploads: Uploads) -> None:
        limit = self._options.store_dir_limit_size
        if not limit:
            return
        if uploads.weight + delivery.size > limit:
            uploads.make_room()
        held = uploads.weight
        weight = held + delivery.size
        if weight > limit and held:  # an empty store takes a delivery of any size, or nothing would ever go on
            self._close_all = True
            uploads.wake.set()
            why = f"; last error: {trouble}" if (trouble := uploads.trouble()) else ""
            told = f"Buffer is full: store_dir holds {weight} bytes, store_dir_limit_size is {int(limit)}{why}"
            raise RetryLater(told, counts=Counts.NEVER)
        if weight > limit * _STORE_WARNING:
            self._log.warning("store_dir is almost full", every=_TELL_EVERY_S, bytes=weight, limit=int(limit))

    # -- spools into objects -----------------------------------------------------------------------------------------

    def _end_if_full(self, one: _Open, uploads: Uploads) -> None:
        """End the piece or the object where it is large enough."""
        options, spool = self._options, one.spool
        is_full = spool.content_size > options.total_file_size or len(spool.sheet.pieces) >= _MOST_PIECES
        is_part = (
            not options.puts_whole
            and spool.open_content_size > options.upload_chunk_size
            and spool.open_size >= PART_LEAST
        )
        try:
            if is_full:
                self._end(one)
            elif is_part:
                spool.finish_piece()
                uploads.wake.set()
        except OSError as error:
            self._put_off(one, error)

    def _close_due(self) -> None:
        close_all, self._close_all = self._close_all, False
        now = self._clock.monotonic()
        for one in list(self._open.values()):
            if close_all or one.due <= now:
                try:
                    self._end(one)
                except OSError as error:
                    self._put_off(one, error)

    def _end(self, one: _Open) -> None:
        one.spool.close()
        del self._open[one.spool.sheet.tag]
        self._running().wake.set()

    def _put_off(self, one: _Open, error: OSError) -> None:
        self._disk_trouble(error)
        one.due = self._clock.monotonic() + _DISK_RETRY_S

    def _give_up(self, spool: Spool, reason: str) -> None:
        options = self._options
        try:
            if options.retry_exhausted_action == "quarantine":
                spool.is_aside = self._store.quarantine(spool, int(options.quarantine_dir_limit_size))
            if not spool.is_aside:
                spool.remove_data()
        except OSError as error:
            self._log.error("cannot move or remove an object that is given up", reason=error)
        spool.is_deleted = not spool.is_aside
        spool.is_expected = spool.is_expected and spool.is_aside
        for owed, records in spool.owed:
            owed.dropped(records, "quarantined" if spool.is_aside else reason)
        spool.owed.clear()

    # -- making ------------------------------------------------------------------------------------------------------

    def _running(self) -> Uploads:
        if self._uploads is None:
            raise RuntimeError("the output is not open")
        return self._uploads

    def _new_taking_over(self) -> TakingOver:
        options, disk, log = self._options, self._context.disk, self._log
        left = LeftBehind(Path(options.store_dir) / options.bucket, options.wants(), disk, log)
        return TakingOver(left, LeftUploads(disk, log, left.put_aside), self._clock, log, self._backoff)

    def _new_bucket(self, client: RestClient) -> Bucket:
        options = self._options
        return Bucket(
            options.bucket,
            client,
            self._clock,
            self._log,
            options.object_headers(),
            send_md5=options.send_content_md5,
        )

    def _new_uploads(self, bucket: Bucket) -> Uploads:
        options, context = self._options, self._context
        sender = Sender(
            bucket,
            self._log,
            self._made,
            context.counter("in_doubt_objects_total").add,
            resend_at_once=options.auto_retry_requests,
        )
        return Uploads(
            sender,
            self._clock,
            self._log,
            self._backoff,
            options.retry_limit.retries if options.retry_limit else None,
            self._give_up,
            context.counter("upload_failures_total"),
            context.counter("failures_total"),
            self._debts,
            in_order=options.preserve_data_ordering,
        )

    def _made(self, spool: Spool) -> FilePart:
        """The Parquet or Arrow file of a spool."""
        from .columnar import make_object

        return make_object(spool, self._options.codec)


def _origins(delivery: Delivery) -> list[Origin | None]:
    return [batch.receipt.origin for batch in delivery.batches]
