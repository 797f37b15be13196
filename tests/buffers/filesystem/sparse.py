"""Builds a large backlog that takes no room on the disk: the records of its frames are holes.

The text of such records is zeros, which is good for starting and for draining bytes, not for decoding.
"""

from __future__ import annotations

import os

from shipper.buffers.filesystem.encoding import Form
from shipper.buffers.filesystem.frames import encode_frame, encode_segment_head, join_names
from shipper.buffers.filesystem.log import SEGMENT_SIZE
from shipper.buffers.filesystem.names import log_folder
from shipper.buffers.filesystem.segment import SUFFIX, Segment

FRAME = 1 << 20
RECORDS = 1000


def build_backlog(path: str, size: int, name: str = "in.0", outputs: tuple[str, ...] = ("one",)) -> int:
    """A log of about this many bytes below a storage.path; gives the number of its records."""
    folder = log_folder(path, name)
    os.makedirs(folder)
    payload, names = bytes(FRAME), join_names("kube.backlog", outputs)
    sequence = 1
    for _ in range(max(1, size // SEGMENT_SIZE)):
        segment = Segment(f"{folder}/{sequence:020d}{SUFFIX}", sequence)
        fd = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(fd, encode_segment_head(sequence, 0))
        while segment.end + FRAME < SEGMENT_SIZE:
            frame = encode_frame(sequence, names, FRAME, 0, RECORDS, Form.JSON_LINES, (payload,))
            os.pwrite(fd, frame[: len(frame) - FRAME], segment.end)
            segment.count(sequence, outputs, RECORDS, FRAME, len(frame))
            os.ftruncate(fd, segment.end)
            sequence += 1
        os.pwrite(fd, segment.encode_seal(), segment.end)
        os.close(fd)
    return (sequence - 1) * RECORDS
