"""A stand-in for the bulk API: it stores documents by index and id, and fails those it is told to."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec

from .http_server import Got, Says

Verdict = Callable[[dict[str, Any]], int]


class BulkStore:
    """What was stored, in order of arrival; `status_of` says what becomes of a document, 0 for the usual."""

    def __init__(self) -> None:
        self.documents: list[tuple[str, str, Any]] = []
        self.status_of: Verdict = lambda document: 0
        self._numbers = itertools.count()

    def judge(self, got: Got) -> Says:
        """The answer to a bulk request."""
        lines = got.lines
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            ((verb, head),) = action.items()
            plain = document.get("doc", document)
            status = self.status_of(plain) or self._store(verb, head, plain)
            error = {"error": {"type": f"kind_{status}", "reason": f"words for {status}"}} if status >= 300 else {}
            items.append({verb: {"_index": head["_index"], "status": status, **error}})
        errors = any("error" in next(iter(item.values())) for item in items)
        return Says(200, msgspec.json.encode({"took": 1, "errors": errors, "items": items}))

    def _store(self, verb: str, head: dict[str, Any], document: Any) -> int:
        place = (head["_index"], head.get("_id") or f"auto{next(self._numbers)}")
        is_there = any((index, id) == place for index, id, _ in self.documents)
        if verb == "create" and is_there:
            return 409
        self.documents = [d for d in self.documents if d[:2] != place] + [(*place, document)]
        return 200 if is_there else 201
