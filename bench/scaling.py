"""The same number of records in few files and in many."""

from __future__ import annotations

import msgspec

from bench.cases import Case
from bench.corpus import Corpus
from bench.drain import drain
from bench.programs import Program
from bench.results import Sample


def drain_spread(program: Program, case: Case, corpus: Corpus, files: int) -> Sample:
    """Drain a corpus of so many files."""
    return msgspec.structs.replace(drain(program, case, corpus), figures={"files": float(files)})
