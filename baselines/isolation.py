"""`isolation`: the estimates of the person and of the object as they are, not optimised; the lower bar."""

from collections.abc import Mapping, Sequence
from typing import Any

from baselines.initial import initial_camera, initial_human, initial_object
from wildhoi.method import MethodInfo, Setup, require_known
from wildhoi.schema import Failure, Reconstruction, Sample

INFO = MethodInfo(
    name="isolation",
    summary="the initial estimates of person and object, not optimised",
    inputs=("human", "camera", "object_pose"),
)


class Isolation:
    """Reconstructs an image from its own estimates alone."""

    info = INFO
    settings: Mapping[str, Any] = {}

    def reconstruct(self, samples: Sequence[Sample], setup: Setup) -> list[Reconstruction | Failure]:
        """The estimates of each sample; a failure where no person was estimated."""
        return [_reconstruct(sample) for sample in samples]


def _reconstruct(sample: Sample) -> Reconstruction | Failure:
    human = initial_human(sample)
    if human is None:
        reason = "the sample has no estimate of the person" if sample.human is None else "the person is not finite"
        return Failure(sample.image_id, reason)
    return Reconstruction(sample.image_id, human, initial_object(sample), initial_camera(sample))


def build(settings: Mapping[str, Any]) -> Isolation:
    """Build the method; it has no settings.

    Raises:
        InputError: one is given.
    """
    require_known(INFO.name, settings, INFO.options)
    return Isolation()
