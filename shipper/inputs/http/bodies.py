"""Records from the body of a request."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from ...record import Body
from ..listening import InvalidJson, TooLarge, inflate, read_values
from .requests import BadRequest, Request

_MOST_FIELDS = 1000
_CODINGS = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
    "zlib": "deflate",
    "zstd": "zstd",
    "snappy": "snappy",
}


def bodies_of(request: Request, most: int) -> tuple[list[Body], int]:
    """The bodies of records, and how many values were left out because they are no objects; raises `BadRequest`."""
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
    return _objects(data) if kind == "application/json" else ([_fields(data)], 0)


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


def _objects(data: bytes) -> tuple[list[Body], int]:
    try:
        values, rest = read_values(data, is_end=True)
    except InvalidJson as error:
        raise BadRequest(400, "error: unable to process records") from error
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
    bodies = [item for item in items if type(item) is dict]
    return bodies, len(items) - len(bodies)


def _fields(data: bytes) -> Body:
    text = data.decode("utf-8", "surrogateescape")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise BadRequest(400, "error: unable to process records") from error
