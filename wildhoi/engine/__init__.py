"""Long work cut into shards, one file each, on this machine's processes or on a Ray cluster; nothing finished is lost.

The seam is `map_shards(work, shards, out, engine=...)`. An engine knows how a shard gets to a processor; everything
that makes a run safe (the lock, what is finished, tries, failures) is in `mapping` and the same for all of them.
"""

from wildhoi.engine.base import Engine
from wildhoi.engine.cluster import Ray
from wildhoi.engine.folder import contents, only_run_in
from wildhoi.engine.local import Local
from wildhoi.engine.mapping import map_shards

__all__ = ["Engine", "Local", "Ray", "contents", "map_shards", "only_run_in"]
