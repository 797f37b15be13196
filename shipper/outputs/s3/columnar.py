"""Objects that are Parquet or Arrow files, made of the lines of a spool when it is sent.

The columns are the keys of the records; maps are structures, so that `kubernetes.pod_name` can be asked for. The lines
are read twice: once for the types of all columns, once to write them, in stretches, so that memory holds one stretch
only. Arrow reads JSON itself, and fast, but only where a key has values of one type. Where it has not, our own way is
taken: what cannot be of one type is written as text, the JSON of each value. Texts that look like times stay texts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from ...aws.messages import FilePart
from ...codecs.compression import Compression
from .bucket import file_digest
from .spool import Spool

_STRETCH = 8_000_000
_DEEPEST = 50
"""Levels of a column, of which a list takes two; readers refuse files that are much deeper."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def make_object(spool: Spool, codec: Compression) -> FilePart:
    """Write the file of a closed spool and give it as a body; the same lines give the same file."""
    path = spool.path(".made")
    # Arrow would let everybody read it.
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    try:
        _write(path, spool, codec, *_by_arrow(spool))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        _write(path, spool, codec, *_by_ourselves(spool))
    size = path.stat().st_size
    digest = file_digest(FilePart(str(path), 0, size, ""), hashlib.sha256)
    return FilePart(str(path), 0, size, digest.hex())


_ToTable = Callable[[list[bytes], pa.Schema], pa.Table]


def _write(path: Path, spool: Spool, codec: Compression, schema: pa.Schema, to_table: _ToTable) -> None:
    tables = (to_table(lines, schema) for lines in _stretches(spool))
    if spool.sheet.columnar == "parquet":
        with pa.parquet.ParquetWriter(str(path), schema, compression=codec) as writer:
            for table in tables:
                writer.write_table(table)
    else:
        options = pa.ipc.IpcWriteOptions(compression="zstd" if codec == "zstd" else None)
        with pa.ipc.new_file(str(path), schema, options=options) as writer:
            for table in tables:
                writer.write_table(table)


def _stretches(spool: Spool) -> Iterator[list[bytes]]:
    """The lines in lists of a few megabytes."""
    lines, size = list[bytes](), 0
    for more in spool.lines():
        lines += more
        size += sum(map(len, more))
        if size >= _STRETCH:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _by_arrow(spool: Spool) -> tuple[pa.Schema, _ToTable]:
    schemas = [_read(lines, None).schema for lines in _stretches(spool)]
    found = pa.unify_schemas(schemas, promote_options="permissive")
    return pa.schema([pa.field(f.name, _writable(f.type)) for f in found]), _read


def _read(lines: list[bytes], schema: pa.Schema | None) -> pa.Table:
    text = b"\n".join([*lines, b""])
    options = pa.json.ParseOptions(explicit_schema=schema) if schema is not None else None
    block = pa.json.ReadOptions(use_threads=False, block_size=len(text) + 1)
    return pa.json.read_json(pa.BufferReader(text), read_options=block, parse_options=options)


def _writable(kind: pa.DataType, depth: int = 0) -> pa.DataType:
    """The type to write for one that Arrow found."""
    if depth > _DEEPEST:
        raise pa.ArrowInvalid("too deep for a column")
    if pa.types.is_struct(kind):
        if not kind.num_fields:
            raise pa.ArrowInvalid("a map without keys has no columns")
        return pa.struct([pa.field(f.name, _writable(f.type, depth + 1)) for f in kind])
    if pa.types.is_list(kind):
        return pa.list_(_writable(kind.value_type, depth + 2))
    return pa.string() if pa.types.is_timestamp(kind) or pa.types.is_null(kind) else kind


class _Shape(msgspec.Struct):
    """What values of one key look like: `kind` is a type's name, or empty as long as nothing but null was seen."""

    kind: str = ""
    members: dict[str, _Shape] = {}

    def see(self, value: Any, depth: int = 0) -> None:
        if value is None or self.kind == "text":
            return
        kind = "text" if depth > _DEEPEST else type(value).__name__
        if kind == "int" and not -(2**63) <= value < 2**63:
            kind = "float"
        if not self.kind or self.kind == kind:
            self.kind = kind
        elif {self.kind, kind} == {"int", "float"}:
            self.kind = "float"
        else:
            self.kind = "text"
        if self.kind == "dict":
            for key, member in value.items():
                self.members.setdefault(key, _Shape()).see(member, depth + 1)
        elif self.kind == "list":
            item = self.members.setdefault("", _Shape())
            for member in value:
                item.see(member, depth + 2)

    def type(self) -> pa.DataType:
        if self.kind == "dict" and self.members:
            return pa.struct([pa.field(key, shape.type()) for key, shape in self.members.items()])
        if self.kind == "list":
            return pa.list_(self.members[""].type())
        return {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}.get(self.kind, pa.string())

    def fit(self, value: Any) -> Any:
        """The value as its column takes it."""
        if value is None:
            return None
        if self.kind == "dict" and self.members:
            return {key: shape.fit(value.get(key)) for key, shape in self.members.items()}
        if self.kind == "list":
            return [self.members[""].fit(member) for member in value]
        if self.kind == "float":
            return float(value)
        return value if self.kind in ("str", "bool", "int") else _encode(value).decode()


def _by_ourselves(spool: Spool) -> tuple[pa.Schema, _ToTable]:
    shape = _Shape("dict", {})
    for lines in _stretches(spool):
        for line in lines:
            shape.see(_decode(line))

    def to_table(lines: list[bytes], schema: pa.Schema) -> pa.Table:
        return pa.Table.from_pylist([shape.fit(_decode(line)) for line in lines], schema=schema)

    return pa.schema([pa.field(key, member.type()) for key, member in shape.members.items()]), to_table
