"""Send records to Fluentd, Fluent Bit, or whatever else speaks the forward protocol."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Annotated, ClassVar, Literal, Self

import msgspec

from ...buffers.base import BatchLimits, Delivery
from ...codecs.template import Template
from ...config.options import opt
from ...context import Context
from ...errors import RetryLater
from ...net.settings import NoAnswer, http_settings
from ...record import RecordBatch
from ..base import NetworkOptions, Output
from ..http_options import lane_of
from ..upstream import Turns, options_of_nodes
from .messages import MessageForm, MessageMaker, Parcel
from .receiver import Receiver

_DEFAULT_PORT = 24224


class MessageOption(msgspec.Struct, frozen=True):
    """An entry of the options of messages, written as `key value`."""

    shown_as: ClassVar[str] = "key and value"
    key: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        key, _, value = text.strip().partition(" ")
        if not value:
            raise ValueError("an option of messages is written as: key value")
        return cls(key, value.strip())


class ForwardOptions(NetworkOptions, kw_only=True):
    """Options of the output `forward`."""

    unix_path: Annotated[str | None, opt("Socket of this machine to send to instead of a host.")] = None
    upstream: Annotated[str | None, opt("File that names several receivers, used in turns.")] = None
    tag: Annotated[Template | None, opt("Tag to send under; may be filled in from the record.", example="app.$pod")] = (
        None
    )
    time_as_integer: Annotated[bool, opt("Send times as whole seconds, for old receivers.")] = False
    retain_metadata: Annotated[bool, opt("Send metadata beside the time; set it to off for Fluentd.")] = msgspec.field(
        default=True, name="retain_metadata_in_forward_mode"
    )
    send_options: Annotated[bool, opt("Tell the number of records with each message.")] = False
    require_ack_response: Annotated[
        bool, opt("Wait until the receiver says that it has a message; recommended, without it records can be lost.")
    ] = False
    compress: Annotated[Literal["text", "gzip"], opt("Compression of messages.")] = "text"
    shared_key: Annotated[str | None, opt("Key that both sides know.", secret=True)] = None
    empty_shared_key: Annotated[bool, opt("Do the handshake with an empty key.")] = False
    self_hostname: Annotated[str, opt("Name that we give ourselves in the handshake.")] = "localhost"
    username: Annotated[str, opt("User, if the receiver asks for one.")] = ""
    password: Annotated[str, opt("Password of the user.", secret=True)] = ""
    fluentd_compat: Annotated[bool, opt("Accepted; it concerns metrics and traces.")] = False
    add_option: Annotated[tuple[MessageOption, ...], opt("An option to add to messages; may be repeated.")] = ()

    def message_form(self) -> MessageForm:
        """What messages look like under these options."""
        return MessageForm(
            tag=self.tag,
            integer_time=self.time_as_integer,
            with_metadata=self.retain_metadata,
            with_options=self.send_options,
            wants_ack=self.require_ack_response,
            compress=self.compress == "gzip",
            more_options={option.key: option.value for option in self.add_option},
        )


class ForwardOutput(Output):
    """Sends messages, those of one tag in order, to one receiver or to several in turns."""

    Options = ForwardOptions
    limits = BatchLimits(size=1_000_000, records=10_000)
    concurrency = 8

    def __init__(self, options: ForwardOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._messages = MessageMaker(options.message_form())
        self._receivers: Turns[Receiver] | None = None

    def lane(self, batch: RecordBatch) -> Hashable:
        return lane_of(batch.tag)

    async def open(self) -> None:
        receivers = [self._receiver(node) for node in options_of_nodes(self._options, self._options.upstream)]
        for receiver in receivers:
            receiver.open()
        self._receivers = Turns(receivers)

    async def send(self, delivery: Delivery) -> None:
        """Send and, if asked for, wait until everything is acknowledged; what is not goes out again, unchanged."""
        if self._receivers is None:
            raise RuntimeError("the output is not open")
        if delivery.progress is None:
            delivery.progress = self._messages.parcels(delivery.batches)
        parcels: deque[Parcel] = delivery.progress
        while parcels:
            parcel = parcels[0]
            try:
                await self._receivers.take().send(parcel)
            except NoAnswer as error:
                self._context.counter("no_answer_total", phase=error.phase).add()
                raise RetryLater(error.reason) from error
            parcels.popleft()
            delivery.accepted += parcel.records

    async def close(self) -> None:
        if self._receivers is not None:
            await asyncio.gather(*(receiver.close() for receiver in self._receivers.members))

    def _receiver(self, node: ForwardOptions) -> Receiver:
        settings = http_settings(node, node.host or "127.0.0.1", node.port or _DEFAULT_PORT)
        receiver = Receiver(settings, node, self._context)
        self._context.count_connections(lambda: receiver.connections)
        return receiver
