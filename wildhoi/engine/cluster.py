"""A Ray cluster: shards travel to its machines and files come back as bytes, so that only inputs need a shared disk."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wildhoi import __version__
from wildhoi.engine.base import Engine, Outcome, Tasks, Work
from wildhoi.engine.working import attempt, peak_memory
from wildhoi.errors import InputError, MissingAssetError, RunError, one_line

LOCAL = "local"
AHEAD = 2
"""Tasks handed over for each that runs, so that no machine waits for the next."""
ANSWER = 10.0
"""Seconds that a cluster has to take a connection: Ray itself goes on asking for a place where nothing is."""
VARIABLES = "WILDHOI_"
"""Begins the names of those that workers get from the command, wherever they run."""


@dataclass(frozen=True)
class _Place:
    """What a worker takes over from the command, for paths and settings to mean the same."""

    folder: str
    variables: Mapping[str, str]

    @classmethod
    def here(cls) -> "_Place":
        """Of this process."""
        return cls(str(Path.cwd()), {name: os.environ[name] for name in os.environ if name.startswith(VARIABLES)})

    def enter(self) -> None:
        """Take it over; where there is no such folder, only whole paths mean the same."""
        os.environ.update(self.variables)
        with suppress(OSError):
            os.chdir(self.folder)


class Ray(Engine):
    """The machines of a Ray cluster, one processor for each shard."""

    remote = True

    def __init__(self, address: str = "auto", workers: int | None = None, gpus: float = 0.0) -> None:
        """Choose a cluster.

        Args:
            address: `auto` finds the cluster that this machine is part of, `local` starts one here; else host:port.
            workers: shards at once; default as many as the cluster has processors (or GPUs, where a shard takes some).
            gpus: of a shard.

        Raises:
            InputError: a number is out of its range.
        """
        super().__init__()
        if workers is not None and workers < 1:
            raise InputError(f"workers: got {workers}, wanted at least 1")
        self.address, self.workers, self.gpus = address, workers, gpus
        self._ray: Any = None
        self._started = False

    def __enter__(self) -> "Ray":
        """Connect, before anything is written for work that no cluster may be there for."""
        super().__enter__()
        try:
            self._connected()
            self._slots()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def outcomes(self, work: Work, tasks: Tasks, partial: Path) -> Iterator[Outcome]:
        """Hand tasks to the cluster, some more than it can do at once, and bring back their files."""
        ray = self._connected()
        remote = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=0)(_do)
        running: dict[Any, str] = {}
        limit = self._slots() if self.workers else AHEAD * self._slots()
        handed = ray.put((work, _Place.here()))
        try:
            while True:
                while len(running) < limit and (key := tasks.take(len(running))) is not None:
                    running[remote.remote(handed, tasks.shard(key), key, __version__)] = key
                if not running:
                    return
                for reference in ray.wait(list(running))[0]:
                    yield _outcome(ray, reference, running.pop(reference))
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def stop(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._started:
            self._ray.shutdown()
        self._ray, self._started = None, False

    def _slots(self) -> int:
        resources = self._ray.cluster_resources()
        found = resources.get("GPU", 0) / self.gpus if self.gpus else resources.get("CPU", 0)
        if found < 1:
            what = "GPU" if self.gpus else "processor"
            raise RunError(f"the Ray cluster at {self.address} has no {what} to give; add a machine that has")
        return int(min(found, self.workers or found))

    def _connected(self) -> Any:
        """The library, connected to the cluster.

        Raises:
            MissingAssetError: it is not installed.
            RunError: there is no such cluster.
        """
        if self._ray is None:
            try:
                import ray
            except ImportError:
                raise MissingAssetError("--engine ray: Ray is not installed; pip install 'wildhoi[cluster]'") from None
            self._ray = ray
            if not ray.is_initialized():
                self._connect()
                self._started = True
        return self._ray

    def _connect(self) -> None:
        here = {"include_dashboard": False} if self.address == LOCAL else {}
        try:
            _require_answer(self.address)
            self._ray.init(address=self.address, log_to_driver=False, logging_level="ERROR", **here)
        except (OSError, RuntimeError, ValueError) as error:
            self._ray = None
            raise RunError(
                f"--address {self.address}: no Ray cluster answers ({one_line(error, 200)}); start one with "
                "`ray start --head`, or take --address local; one that wants a token: export RAY_AUTH_MODE=token"
            ) from None


def _require_answer(address: str) -> None:
    """Refuse host:port where nothing takes a connection; raises OSError or ValueError."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()


def _do(
    handed: tuple[Work, _Place], shard: Any, key: str, version: str
) -> tuple[Any, Exception | None, bytes | None, int]:
    """Do one task on a machine of the cluster: what the work returned or raised, its file, the memory held."""
    if version != __version__:
        wrong = RunError(f"a machine of the cluster has wildhoi {__version__}, this one {version}; install one version")
        return None, wrong, None, 0
    work, place = handed
    place.enter()
    content = None
    try:
        with TemporaryDirectory(prefix="wildhoi-") as folder:
            path = Path(folder) / key
            value, error = attempt(work, shard, path)
            if error is None and path.is_file():
                content = path.read_bytes()
    except OSError as failure:
        value, error = None, failure
    if isinstance(error, OSError):  # of this machine alone, its full disk included: another one may do it
        error = OSError(f"on {socket.gethostname()}: {error}")
    return value, error, content, peak_memory()


def _outcome(ray: Any, reference: Any, key: str) -> Outcome:
    try:
        value, error, content, memory = ray.get(reference)
    except ray.exceptions.RayTaskError as failure:  # the task could not even be read there
        return Outcome(key, error=RuntimeError(one_line(failure.cause or failure, 500)))
    except ray.exceptions.RayError as failure:
        return Outcome(key, death=one_line(failure, 200))
    return Outcome(key, value, error, content=content, memory=memory)
