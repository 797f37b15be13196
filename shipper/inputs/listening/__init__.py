"""What inputs share to which senders push: sockets, connections, limits, and answers that wait for safe keeping.

- `sockets` binds, and tells what cannot be bound; `server_tls` is the TLS side of a listener.
- `streams` serves every connection in a task of its own; `connection` is what that task talks to.
- `datagrams` reads datagrams, many at once.
- `raw_options` and `json_values` make records of text; `inflating` decompresses, within limits.

Nothing is read while a batch waits for room, so a sender on a stream waits with us. An `Answer` is owed for the records
of a batch and sent when their receipt is settled, also after reading has stopped.
"""

from .connection import READ_AHEAD, Answer, Connection, Refused
from .datagrams import Datagram, DatagramListener
from .inflating import TooLarge, inflate
from .json_values import InvalidJson, read_values
from .options import ListenOptions
from .push_input import CUT_OFF, PushInput, count_cut_off, hand_on
from .raw_options import PayloadReader, RawOptions, Read
from .sockets import Address, FileMode, Place, UnixPath
from .streams import StreamListener
from .texts import decoded_text, parser_named

__all__ = [
    "CUT_OFF",
    "READ_AHEAD",
    "Address",
    "Answer",
    "Connection",
    "Datagram",
    "DatagramListener",
    "FileMode",
    "InvalidJson",
    "ListenOptions",
    "PayloadReader",
    "Place",
    "PushInput",
    "RawOptions",
    "Read",
    "Refused",
    "StreamListener",
    "TooLarge",
    "UnixPath",
    "count_cut_off",
    "decoded_text",
    "hand_on",
    "inflate",
    "parser_named",
    "read_values",
]
