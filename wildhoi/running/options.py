"""What can be chosen of a run, beside the method's own settings."""

from dataclasses import dataclass
from importlib.util import find_spec

from wildhoi.dataset import SPLITS
from wildhoi.errors import InputError, MissingAssetError

RENDERERS = ("torch", "pytorch3d")


@dataclass(frozen=True)
class RunOptions:
    """What to run on, and how.

    Attributes:
        split: `train` or `test`.
        objects: names of categories; none for all.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch: images of one object and one gender that the method is given at once, at most.
        seed: of everything random in the method.
        shard: (i, n), 1-based: of every object's images, by id, each n-th from the i-th on.
        limit: only the first so many images of every object by id; taken before the shard.
        renderer: `torch`, or `pytorch3d` where that is installed.
        resume: go on with what the folder holds; otherwise it must be empty.

    Raises:
        InputError: a value is out of its range.
        MissingAssetError: the renderer is not installed.
    """

    split: str = "test"
    objects: tuple[str, ...] = ()
    device: str = "auto"
    batch: int = 64
    seed: int = 0
    shard: tuple[int, int] = (1, 1)
    limit: int | None = None
    renderer: str = "torch"
    resume: bool = False

    def __post_init__(self) -> None:
        index, count = self.shard
        refused = (
            (self.split not in SPLITS, f"--split {self.split}: want one of {', '.join(SPLITS)}"),
            (self.batch < 1, f"--batch {self.batch}: want at least 1"),
            (not 0 <= self.seed < 2**32, f"--seed {self.seed}: want a number from 0 to {2**32 - 1}"),
            (not 1 <= index <= count < 10_000, f"--shard {index}/{count}: want i/n with i from 1 to n, n below 10,000"),
            (self.limit is not None and self.limit < 1, f"--limit {self.limit}: want at least 1"),
            (self.renderer not in RENDERERS, f"--renderer {self.renderer}: want one of {', '.join(RENDERERS)}"),
        )
        for wrong, message in refused:
            if wrong:
                raise InputError(message)
        if self.renderer != "torch" and find_spec(self.renderer) is None:
            raise MissingAssetError(
                f"--renderer {self.renderer}: the package is not installed; install it (conda, or from source), or "
                "leave the option out"
            )
