"""pgwatch: etcd's model on the tables of a PostgreSQL. Usable alone; nothing here knows the gateway.

```python
from headgate import pgwatch

async with pgwatch.connect("postgresql://localhost/app") as kv:
    await kv.install()
    revision = await kv.put("colours/sky", "blue")
    async for event in kv.watch("colours/", since=revision):
        print(event.key, event.value)
```
"""

from headgate.pgwatch.client import Client, Lease, Put, connect, delete_at_commit, put_at_commit
from headgate.pgwatch.errors import (
    Conflict,
    HistoryLost,
    NoSuchLease,
    NotInstalled,
    PgwatchError,
    Unavailable,
)
from headgate.pgwatch.link import Timing
from headgate.pgwatch.records import Batch, Event, Item, Items, Position, Transition

__all__ = [
    "Batch",
    "Client",
    "Conflict",
    "Event",
    "HistoryLost",
    "Item",
    "Items",
    "Lease",
    "NoSuchLease",
    "NotInstalled",
    "PgwatchError",
    "Position",
    "Put",
    "Timing",
    "Transition",
    "Unavailable",
    "connect",
    "delete_at_commit",
    "put_at_commit",
]
