"""The kubernetes_events input.

A list tells what there is, a watch what changes; `collecting.py` takes them in turn. What was sent is known three ways:

- `RecentlySeen` remembers what was emitted by this process, within bounds. Over a hot reload it goes from one input to
  the next, without what was not delivered.
- The version behind which everything was emitted is the floor: what a list has below it was seen before. It may only
  be trusted while versions grow, so a list that is older than the floor (a restored cluster) takes it away.
- The database (`database.py`), in Fluent Bit's table, holds the events that were delivered; with leader election the
  lease holds the version behind which everything was delivered, for the process that leads next.

The last two change when receipts are settled, so a killed process or a lost leader repeats what was in flight at most.
"""

from .input import KubernetesEventsInput
from .options import KubernetesEventsOptions

__all__ = ["KubernetesEventsInput", "KubernetesEventsOptions"]
