"""Records from the body of a request."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ...record import Body
from ..depth import is_too_deep
from ..listening import InvalidJson, TooLarge, inflate, read_values
from .requests import BadRequest, Request

_MOST_FIELDS = 1000
_MOST_TOKENS = 250_000
"""What is not strictly JSON is read as long as this takes, a fraction of a second; a short request may hold much."""

_CODINGS = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
    "zlib": "deflate",
    "zstd": "zstd",
    "snappy": "snappy",
}


class Decoded(msgspec.Struct, frozen=True):
    """The bodies of records, the bytes that they were made of, and how many values were left out.

    Those are no objects, or `too_deep`.
    """

    bodies: list[Body]
    size: int
    no_objects: int = 0
    too_deep: int = 0


def decoded(request: Request, most: int) -> Decoded:
    """What the body of the request holds; it may have so many bytes when decompressed. Raises `BadRequest`."""
    kind = request.headers.get("content-type")
    if request.method != "POST":
        raise BadRequest(400, "error: invalid HTTP method")
    if kind is None:
        raise BadRequest(400, "error: header 'Content-Type' is not set")
    kind = kind.partition(";")[0].strip().lower()
    if kind not in ("application/json", "application/x-www-form-urlencoded"):
        raise BadRequest(400, "error: invalid 'Content-Type'")
    if not request.body:
        raise BadRequest(400, "error: no payload found")
    data = _plain(request, most)
    return _objects(data) if kind == "application/json" else Decoded([_fields(data)], len(data))


def _plain(request: Request, most: int) -> bytes:
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return request.body
    if coding not in _CODINGS:
        raise BadRequest(415, "error: invalid 'Content-Encoding'")
    try:
        return inflate(request.body, _CODINGS[coding], most)
    except TooLarge as error:
        raise BadRequest(413, f"error: the decoded body is larger than buffer_max_size, {most} bytes") from error
    except ValueError as error:
        raise BadRequest(400, "error: unable to process records") from error


def _objects(data: bytes) -> Decoded:
    try:
        values, rest = read_values(data, is_end=True, most_tokens=_MOST_TOKENS)
    except InvalidJson as error:
        raise BadRequest(400, f"error: {error.limit or 'unable to process records'}") from error
    if rest < len(data) or not values:
        raise BadRequest(400, "error: unable to process records")
    items: list[Any] = []
    for value in values:
        if type(value) is list:
            items += value
        elif type(value) is dict:
            items.append(value)
        else:
            raise BadRequest(400, "error: unable to process records")
    objects = [item for item in items if type(item) is dict]
    bodies = [body for body in objects if not is_too_deep([body])] if is_too_deep(objects) else objects
    return Decoded(bodies, len(data), len(items) - len(objects), len(objects) - len(bodies))


def _fields(data: bytes) -> Body:
    text = data.decode("utf-8", "surrogateescape")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise BadRequest(400, "error: unable to process records") from error
