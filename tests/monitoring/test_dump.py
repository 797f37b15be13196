from __future__ import annotations

from shipper.errors import RetryLater
from shipper.monitoring.dump import render_dump
from shipper.testing import MemoryOutput

from .scene import Scene, delivering

EMPTY = """
===== Input =====
app (tail)
│
├─ status
│  └─ overlimit     : no
│     ├─ mem size   : 0b (0 bytes)
│     └─ mem limit  : 976.6K (1000000 bytes)
│
├─ tasks
│  ├─ total tasks   : 0
│  ├─ new           : 0
│  ├─ running       : 0
│  └─ size          : 0b (0 bytes)
│
└─ chunks
   └─ total chunks  : 0
      ├─ up chunks  : 0
      ├─ down chunks: 0
      └─ busy chunks: 0
         ├─ size    : 0b (0 bytes)
         └─ size err: 0

===== Storage Layer =====
total chunks     : 0
├─ mem chunks    : 0
└─ fs chunks     : 0
   ├─ up         : 0
   └─ down       : 0
"""


def test_a_dump_looks_as_operators_know_it() -> None:
    assert render_dump(Scene().view) == EMPTY


async def test_a_dump_tells_what_waits_and_what_is_tried() -> None:
    scene = Scene(MemoryOutput([RetryLater("away")] * 100), limit=10)
    async with delivering(scene):
        scene.put("a", "b")
        await scene.pass_time(3)
        lines = render_dump(scene.view).splitlines()

    told = {line.rpartition("─ ")[2] for line in lines}
    assert {"total tasks   : 1", "running       : 1", "total chunks  : 1", "busy chunks: 1"} <= told
    assert {"overlimit     : no", "mem limit  : 10b (10 bytes)", "mem chunks    : 1"} <= told
