"""Stage benchmarks: one step on fixed data, in nanoseconds per record.

Each subject is a module with its stages, as tests of pytest-benchmark that only `python -m bench.stages` runs. Every
stage says how many records it has, and looks at what it made, so that one that does nothing is not fast but fails.
"""

SUBJECTS = (
    "reading",
    "cri",
    "docker",
    "multiline",
    "times",
    "kubernetes",
    "filters",
    "encoding",
    "compression",
    "requests",
    "buffers",
    "journal",
    "least",
)
"""The modules with stages, in the order of the flow."""
