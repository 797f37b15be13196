"""Batches on disk: a log of segments per input, and a cursor per output.

Constraints. A batch that was settled is delivered whatever happens to the process, and with `storage.sync full` to the
machine. One stored copy serves all outputs; one that is away holds up no other. Start-up time and memory do not grow
with what is stored. Damage costs what is damaged, and no file is deleted that has something in it nobody got. A record
passes without a step of Python of its own.

Layout, below `storage.path`, everything two levels deep (see `names`):

    shipper/<input>/<number>.seg       a segment, named by the lowest number of a frame that may stand in it
    shipper/<input>/cursors            what each output has finished; see `cursors`
    shipper/.outputs/names             where the outputs sent to that frames and cursors name; see `output_names`
    shipper/.chunks/delivered          which outputs have had which chunk file of Fluent Bit
    quarantine/<input>/<file>          what was damaged, and beside it <file>.reason, a line of JSON
    <storage.rejected.path>/<output>/rejected.jsonl

A segment begins with 32 bytes that tell people what it is: `SHIPSEG1`, its number, the time, zeros. Then frames follow
without a gap, and, when no more are to come, a seal. All integers are little-endian:

    offset  bytes
         0      8  checksum of the bytes from 8 to the end of the names
         8      8  checksum of the payload
        16      4  length of the names
        20      4  length of the payload
        24      8  number of the frame; numbers grow by one within a segment
        32      8  bytes of the batch as read
        40      8  time of the put, nanoseconds since 1970
        48      4  records
        52      1  form of the payload: 1 and 4 JSON lines, 2 MessagePack, 3 MessagePack with metadata, 5 JSON lines
                   with a hole in each for one value that all of them share, 255 seal
        53      3  zeros
        56         names: the outputs, divided by a zero byte, two zero bytes, the tag
                   payload: for each record its time (8 bytes), then the bodies; see `encoding`

Checksums are XXH3, 64 bits. A seal is a frame whose payload is the MessagePack list `[last number, sums, {output:
sums}]`, sums being batches, records, bytes as read and bytes on disk, followed by `SHIPSEAL` and the offset of that
frame. It is found from the end of the file, so a start reads a few hundred bytes of each segment. Without one, the
heads of the frames are read.

Operation. `put` appends one frame with one write; its receipt is settled then, or after `fsync` if that is wanted. A
segment ends at 16 MiB. Batches stay in memory, too, while there is room, and readers that keep up never read a file;
a reader behind that reads ahead a few megabytes. A cursor is the last frame its output has seen and those before that
which are still open, so one stuck stream costs only what it holds itself. Each commit appends to the journal of
cursors, and a segment is deleted when every output that is named in it has finished all its frames there.

Failures. A write that fails is taken back by cutting the file, or else the segment is given up and the same frame goes
into a new one; then the old one ends where the number of the new one begins. After a failed `fsync` the frames that
were not safe are written again in the same way. While the disk refuses, batches stay in memory, their receipts are
owed, and `room` lets the input wait.

What a crash can leave behind: half a frame at the end of the last segment, which was not settled; a segment without
seal; cursors that lack the last commit, whose records come twice; `cursors.new`, which is not read. A start never
appends to a file it finds, and numbers go on above all that cursors or segments name. The first frame that is not
intact ends its segment: what stands before is delivered, what stands behind is counted as lost where a seal tells it,
and the file goes to the quarantine when it would be deleted.
"""

from .buffer import FilesystemBuffer
from .chunk_files import ChunkBacklog
from .limits import ChunkBudget, StorageLimit
from .names import stored_inputs
from .rejected import RejectedStore
from .settings import StorageSettings

__all__ = [
    "ChunkBacklog",
    "ChunkBudget",
    "FilesystemBuffer",
    "RejectedStore",
    "StorageLimit",
    "StorageSettings",
    "stored_inputs",
]
