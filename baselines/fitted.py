"""A method made of a recipe: samples in, fits, reconstructions and failures out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from baselines.checkpoint import Checkpoint
from baselines.fitting import Problem, Report, Stage, fit
from baselines.initial import initial_camera, initial_human, initial_object
from baselines.observation import LACKS, Observation, observe
from baselines.painter import Painter
from baselines.placement import Place, initial_tensors, placement
from baselines.recipe import Recipe
from baselines.scene import BODY, Scene, rotation_from_6d
from wildhoi.body import BodyModel, body_parameters
from wildhoi.body.loading import find_regressor
from wildhoi.body.wholebody import REGRESSOR, read_regressor
from wildhoi.files import canonical_json, sha256_text
from wildhoi.method import MethodInfo, Moment, Setup
from wildhoi.schema import Failure, Human, ObjectPose, Reconstruction, Sample
from wildhoi.templates import Template

FIELDS = {
    "wholebody_keypoints": ("wholebody_keypoints",),
    "object_correspondences": ("object_correspondences",),
    "masks": ("person_mask", "object_mask"),
    "occlusion": ("human_occlusion", "object_occlusion"),
}
"""The fields of a sample behind each need; a submission declares those that its terms read."""
WHAT = {"human": "estimate of the person", "camera": "camera", **{name: name.replace("_", " ") for name in LACKS}}


class FittedMethod:
    """Fits bodies and objects to images by a recipe; see `wildhoi.method.Method`."""

    def __init__(self, info: MethodInfo, recipe: Recipe, settings: Mapping[str, Any]) -> None:
        """Settle the settings.

        Raises:
            InputError: one is unknown or of the wrong kind.
        """
        self.recipe = recipe
        self.settings: Mapping[str, Any] = recipe.settled(info.name, settings)
        unread = {f for need in FIELDS.keys() - recipe.needs(self.settings).keys() for f in FIELDS[need]}
        inputs = tuple(name for name in info.inputs if name not in unread)
        self.info = replace(info, inputs=inputs, options=recipe.options())

    def reconstruct(self, samples: Sequence[Sample], setup: Setup) -> list[Reconstruction | Failure]:
        """Fit samples of one object and one gender; those that lack an input are failures, the rest goes on."""
        usable = [_usable(sample) for sample in samples]
        lacking = {sample.image_id: self._lack(sample) for sample in usable}
        whole = [sample for sample in usable if not lacking[sample.image_id]]
        records = self._fit(whole, setup) if whole else {}
        return [records.get(s.image_id) or Failure(s.image_id, lacking[s.image_id]) for s in samples]

    def _lack(self, sample: Sample) -> str:
        """What a sample lacks, in words; nothing where it lacks nothing."""
        for name in ("human", "camera"):
            if getattr(sample, name) is None:
                return f"no usable {WHAT[name]}, from which every fit starts"
        for need, terms in self.recipe.needs(self.settings).items():
            if LACKS[need](sample):
                without = " ".join(f"--set {term}=0" for term in terms)
                return f"no {WHAT[need]}, for {' and '.join(terms)}; {without} fits without"
        return ""

    def _fit(self, samples: Sequence[Sample], setup: Setup) -> dict[str, Reconstruction | Failure]:
        body = setup.body(samples[0].gender, self.settings["precision"])
        template = setup.template(samples[0].object)
        painter = Painter(setup.renderer, fixed=body.device.type == "cuda" and setup.renderer == "torch")
        problem = self._problem(samples, template, body, painter)
        fingerprint = sha256_text(
            canonical_json([self.info.name, _plain(self.settings), [s.image_id for s in samples]])
        )
        # an image that rests is not part of a kept state: with a tolerance a batch begins anew
        keep = setup.checkpoint is not None and not problem.tolerance
        checkpoint = Checkpoint(setup.checkpoint, fingerprint) if keep and setup.checkpoint is not None else None

        def tell(report: Report) -> None:
            if setup.watch is not None:
                numbers = {**report.losses, **self._numbers(problem)}
                moment = Moment(report.done, report.total, numbers, lambda: _whole(_records(samples, problem)))
                setup.watch(moment)

        watch = tell if setup.watch is not None else None
        stages = self._stages(template)
        self._begin(problem, template, stages)
        fit(problem, stages, checkpoint=checkpoint, watch=watch, watch_every=setup.watch_every)
        seconds = checkpoint.elapsed / len(samples) if checkpoint is not None else None
        return {record.image_id: replace(record, seconds=seconds) for record in _records(samples, problem)}

    def _stages(self, template: Template) -> list[Stage]:
        """The phases of a fit to an object."""
        return self.recipe.stages(self.settings)

    def _observe(self, samples: Sequence[Sample], template: Template, body: BodyModel) -> Observation:
        """What samples say, where the body model is and in its numbers."""
        return observe(samples, template, background=self.recipe.background).to(body.device, body.dtype)

    def _more_parameters(self, samples: Sequence[Sample], seen: Observation) -> dict[str, Tensor]:
        """What is optimised beside body and object."""
        return {}

    def _numbers(self, problem: Problem) -> dict[str, float]:
        """What is told of a fit beside its losses."""
        return {}

    def _begin(self, problem: Problem, template: Template, stages: Sequence[Stage]) -> None:
        """Where a fit starts: at the estimates."""

    def _problem(self, samples: Sequence[Sample], template: Template, body: BodyModel, painter: Painter) -> Problem:
        regressor = None
        if self.settings["keypoints"] == "regressor":
            regressor = read_regressor(find_regressor(REGRESSOR), body)
        seen = self._observe(samples, template, body)
        touching = None if seen.human_contact is None else np.unique(seen.human_contact.clamp(min=0).cpu().numpy())
        scene = Scene(body, template, self.recipe.parts(body, template), painter, regressor, touching)
        start = {name: tensor.clone() for name, tensor in _start(samples, body).items()}
        rotation = rotation_from_6d(start["object_rotation"])
        place = Place(start["object_translation"], start["object_scale"])
        middle = scene.object_means.still[0] + scene.object_means.share[0] * scene.object_means.middle[0]
        fixed = self.settings["scale"] == "fixed"
        where = placement(self.settings["coordinates"], seen.cameras, middle, place, rotation, fixed_scale=fixed)
        parameters = initial_tensors(start, where) | self._more_parameters(samples, seen)
        return Problem(scene, seen, where, parameters, self.recipe.objective, self.settings["tolerance"])


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def _usable(sample: Sample) -> Sample:
    """The sample with estimates that are numbers, or none."""
    return replace(sample, human=initial_human(sample), camera=initial_camera(sample))


def _start(samples: Sequence[Sample], body: BodyModel) -> dict[str, Tensor]:
    """Every parameter at the sample's estimates, the object in the SMPL frame."""
    people = [sample.human for sample in samples if sample.human is not None]
    start = dict(zip(BODY, body_parameters(people, body), strict=True))
    poses = [initial_object(sample) for sample in samples]
    arrays = {
        "object_rotation": np.stack([pose.rotation[:2].ravel() for pose in poses]),
        "object_translation": np.stack([pose.translation for pose in poses]),
        "object_scale": np.array([[pose.scale] for pose in poses]),
    }
    if poses[0].angle is not None:
        arrays["object_angle"] = np.array([[pose.angle or 0.0] for pose in poses])
    return start | {n: torch.as_tensor(a, dtype=body.dtype, device=body.device) for n, a in arrays.items()}


def _records(samples: Sequence[Sample], problem: Problem) -> list[Reconstruction | Failure]:
    """Where a fit stands, as records; an image whose numbers are not finite has failed."""
    with torch.no_grad():
        state = problem.state()
        arrays = {name: problem.parameters[name].double().cpu().numpy() for name in BODY}
        thing = state.object
        parts = (thing.rotation, thing.translation, thing.scale, thing.angle)
        rotation, translation, scale, angle = (None if p is None else p.double().cpu().numpy() for p in parts)
    assert rotation is not None and translation is not None and scale is not None
    records: list[Reconstruction | Failure] = []
    for row, sample in enumerate(samples):
        numbers = [array[row] for array in (*arrays.values(), rotation, translation, scale)]
        turn = None if angle is None else float(angle[row, 0])
        if not all(np.isfinite(array).all() for array in (*numbers, turn or 0.0)) or scale[row, 0] <= 0:
            records.append(Failure(sample.image_id, "the fit diverged: numbers that are not finite, or no size left"))
            continue
        exact = Rotation.from_matrix(rotation[row]).as_matrix()
        pose = ObjectPose(exact, translation[row], float(scale[row, 0]), turn)
        records.append(Reconstruction(sample.image_id, Human(*numbers[:4]), pose, sample.camera))
    return records


def _whole(records: Sequence[Reconstruction | Failure]) -> list[Reconstruction]:
    return [record for record in records if isinstance(record, Reconstruction)]
