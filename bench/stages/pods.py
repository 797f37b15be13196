"""The kubernetes filter, its metadata known, and the batches that it makes of CRI lines."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from shipper.clock import SystemClock
from shipper.filters.kubernetes import KubernetesFilter, KubernetesOptions
from shipper.record import RecordBatch
from shipper.testing import context_of
from tests.components.kubernetes import pod
from tests.written_options import options_from

from .material import TAG, cri_batches


def filter_of(folder: Path, lines: str) -> KubernetesFilter:
    """A filter that knows the pod of the records from a file, so that nobody has to be asked for it."""
    labels = {"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "shop", "pod-template-hash": "7d4b9c"}
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "9102"}
    known = pod("web-7d4b9c-abcde", "shop", containers=("web",), labels=labels, annotations=annotations)
    (folder / "shop_web-7d4b9c-abcde.meta").write_bytes(msgspec.json.encode(known))
    written = f"kube_meta_preload_cache_dir {folder}\nkube_tag_prefix kube.var.log.containers.\n{lines}"
    one = KubernetesFilter(options_from(KubernetesOptions, written), context_of("filter", clock=SystemClock()))
    asyncio.run(_look_up(one))
    return one


async def _look_up(one: KubernetesFilter) -> None:
    await one.prepare(RecordBatch(TAG, [], 0))
    await one.close()


def applied(one: KubernetesFilter, batches: list[RecordBatch]) -> list[RecordBatch]:
    """What the filter leaves of the batches."""
    return [left for batch in batches if (left := one.apply(batch)) is not None]


def enriched_batches(folder: Path) -> list[RecordBatch]:
    """JSON lines of containers as outputs usually get them: with their fields and their pod."""
    return applied(filter_of(folder, "merge_log on"), cri_batches("json"))
