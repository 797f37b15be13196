"""The journal of systemd.

`journal.py` reads the journal in rounds, `entries.py` makes records of what it reads, `cursors.py` remembers how far
what was read is safe, and `input.py` is what the engine sees.

All calls into the library, and those into the database, are made by one worker thread: they may wait for the disk, and
a journal must not be used by two threads. A round is bounded in entries, bytes and time, so the thread is soon free.
"""
