"""Text of senders: how it is decoded, and what parses it."""

from __future__ import annotations

from ...config.options import did_you_mean
from ...context import Context
from ...errors import OptionError
from ...parsers.base import Parser


def decoded_text(data: bytes) -> str:
    """The text; bytes that are no UTF-8 become lone surrogates, which outputs know."""
    return data.decode("utf-8", "surrogateescape")


def parser_named(name: str, context: Context) -> Parser:
    """The parser of this name; raises `OptionError` that tells which ones there are."""
    parser = context.parsers.get(name)
    if parser is not None:
        return parser
    names = context.parsers.names()
    remedy = did_you_mean(name, names) if names else "add a Parsers_File to [SERVICE] that defines it"
    raise OptionError("parser", f"there is no parser named '{name}'", remedy)
