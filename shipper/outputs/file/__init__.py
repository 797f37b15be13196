"""The file output: append records to files, one by tag or by a name of its own."""

from .output import FileOptions, FileOutput

__all__ = ["FileOptions", "FileOutput"]
