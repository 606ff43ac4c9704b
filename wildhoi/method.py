"""What a method is, what it is given, and how one is found: entry points of the group `wildhoi.methods`.

Built-in and outside methods are found the same way. An entry point names a function that builds a method from its
settings; docs/methods.md shows a whole package of thirty lines.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from wildhoi.errors import InputError, WildhoiError
from wildhoi.schema import BodyKind, Failure, Reconstruction, Sample
from wildhoi.templates import Template, find_template, load_template

if TYPE_CHECKING:
    from wildhoi.body import BodyModel

GROUP = "wildhoi.methods"


@dataclass(frozen=True)
class Option:
    """A setting of a method: what it is where nothing is said, and what it means."""

    default: Any
    meaning: str


@dataclass(frozen=True)
class MethodInfo:
    """What a method says of itself; goes to the manifest of its submissions.

    `inputs` names the fields of a `Sample` that it reads beyond the image.
    """

    name: str
    summary: str
    inputs: tuple[str, ...] = ()
    supervision: str = "none"
    authors: str = ""
    paper: str = ""
    code: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class Moment:
    """What a method tells while it works on a batch: steps done, losses (mean over images) and where it stands.

    `losses` may have other numbers too, such as how far something has moved.

    `reconstructions` is a function, so that nobody pays for what nobody looks at.
    """

    done: int
    total: int
    losses: Mapping[str, float]
    reconstructions: Callable[[], list[Reconstruction]]


@dataclass(frozen=True)
class Setup:
    """What a method is given beside the samples.

    Attributes:
        body_model: kind of the data's body model, whose parameters a reconstruction has.
        objects: the data's folder of templates.
        device: a torch device, `cpu` or `cuda:N`.
        seed: of everything random.
        renderer: `torch`, or `pytorch3d` where that is installed.
        checkpoint: a file that the method may keep its state in, to go on from after an interruption.
        watch: called from time to time, or every `watch_every` steps, with a `Moment`.
        watch_every: steps between two calls; 0: about twice a second.
    """

    body_model: BodyKind
    objects: Path
    device: str = "cpu"
    seed: int = 0
    renderer: str = "torch"
    checkpoint: Path | None = None
    watch: Callable[[Moment], None] | None = None
    watch_every: int = 0

    def template(self, name: str) -> Template:
        """The template of an object; raises MissingAssetError where it is not there."""
        return load_template(find_template(self.objects, name, shipped=self.body_model == "open"))

    def body(self, gender: str = "neutral", precision: str = "float32") -> "BodyModel":
        """The data's body model on the device, float32 or float64; MissingAssetError where its file is not there."""
        import torch

        from wildhoi.body import load_body

        flat, dtype = self.body_model == "smplh", {"float32": torch.float32, "float64": torch.float64}[precision]
        return load_body(self.body_model, gender=gender, flat_hand_mean=flat, dtype=dtype, device=self.device)


@runtime_checkable
class Method(Protocol):
    """Reconstructs images; `settings` are the resolved values of its options."""

    info: MethodInfo
    settings: Mapping[str, Any]

    def reconstruct(self, samples: Sequence[Sample], setup: Setup) -> list[Reconstruction | Failure]:
        """Reconstruct samples of one object and one gender: one record for each, in their order."""
        ...


Builder = Callable[[Mapping[str, Any]], Method]


def method_names() -> list[str]:
    """The names of all installed methods, sorted."""
    return sorted(_entries())


def load_method(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """Build a method by name.

    Args:
        name: of an entry point of the group `wildhoi.methods`.
        settings: values of some of its options.

    Raises:
        InputError: there is no such method, it cannot be imported, or a setting is unknown or of the wrong kind.
    """
    entries = _entries()
    if name not in entries:
        raise InputError(f"method {name!r} is unknown, want one of: {', '.join(entries) or 'none is installed'}")
    try:
        build: Builder = entries[name].load()
    except Exception as error:  # noqa: BLE001 - a foreign module may raise anything as it is imported
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"method {name!r}: {entries[name].value} cannot be imported ({reason})") from None
    try:
        return build(settings or {})
    except WildhoiError:
        raise
    except Exception as error:  # noqa: BLE001 - nor is it known what a foreign builder raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"method {name!r}: {entries[name].value} cannot build it ({reason})") from None


def require_known(where: str, settings: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse a setting that a method does not have.

    Raises:
        InputError: with the nearest known name, and all of them.
    """
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise InputError(f"{where}: has no setting {name!r}{meant}; it has {', '.join(known) or 'none'}")


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}
