"""`flow-prior`: the paper's method, a learned prior and contact in the two-phase fit; and its published setting.

The prior is a flow over views of a scene, trained from 2D images (`wildhoi train flow-prior`). It looks at a scene
through virtual cameras, drawn from itself and moved along; contact draws together the vertices that are hidden behind
each other here and in many other images (paper, 3.3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from baselines.conditioned import Conditioned, condition, draw_cameras
from baselines.fitted import FittedMethod
from baselines.fitting import Problem, Stage
from baselines.observation import Observation
from baselines.prior_files import HASH, SUPERVISION, TrainedPrior, facts_of, find_priors, read_prior
from baselines.recipe import COMMON, Recipe
from baselines.scene import CAMERAS
from baselines.search import Search, search
from baselines.touching import contact_candidates
from wildhoi.body import BodyModel
from wildhoi.errors import InputError
from wildhoi.method import MethodInfo, Option, Setup, require_known
from wildhoi.schema import Sample
from wildhoi.templates import Template

INPUTS = (
    "human",
    "camera",
    "object_pose",
    "wholebody_keypoints",
    "object_correspondences",
    "person_mask",
    "object_mask",
    "human_occlusion",
    "object_occlusion",
    "person_box",
    "object_box",
)
SHOWN = ("person_mask", "object_mask", "person_box", "object_box")
"""What an encoder is shown beside the picture."""
PAPER = "Monocular Human-Object Reconstruction in the Wild"
CODE = "https://github.com/huochf/WildHOI (optimize_with_kps_flow_contact.py), written afresh"
ALONE = COMMON | {"prior": 1e-1, "contact": 0.0, "contact_nearest": 0.0}
"""Weights without contact; the authors' code binds hands less where there is contact."""
TOUCHING = ALONE | {"hand_keypoints": 1e-2, "hand_decay": 1e-2, "hand_norm": 1e-2, "contact": 1.0}


@dataclass(frozen=True)
class Choices:
    """The settings of a flow prior beside those of any fit.

    Attributes:
        checkpoint: folder of the priors, or the name of such a folder that ships or is in `$WILDHOI_CHECKPOINTS`.
        hashes: of the weights by object; others are refused.
        trained: how and where each prior was trained, by object: only told, never asked for.
        cameras: virtual cameras of an image.
        camera_lr: learning rate of their positions, metres; 0: they stay where they were drawn.
        start: `search`, or `published`: at the estimated pose.
        candidates: starts that are refined.
        search_steps: steps of that.
        eta: what occlusion times mean occlusion of a vertex must pass to be a candidate of contact (paper).
        contact_points: candidates of contact of one side of an image, at most; 0: all.
    """

    checkpoint: str = ""
    hashes: Mapping[str, str] | None = None
    trained: Mapping[str, str] | None = None
    cameras: int = 8
    camera_lr: float = 1e-3
    start: str = "search"
    candidates: int = 3
    search_steps: int = 100
    eta: float = 0.05
    contact_points: int = 400


MEANINGS = {
    "checkpoint": "folder of the priors that `wildhoi train flow-prior` wrote, or the name of one that ships: small",
    "hashes": "of the priors' weights by object; others are refused",
    "trained": "how and where the priors were trained, by object: told by them, never asked for",
    "cameras": "virtual cameras of an image",
    "camera_lr": "learning rate of their positions, metres; 0: they stay where they were drawn",
    "start": "`search` along the viewing ray, or `published`: at the estimated pose",
    "candidates": "starts of an image that are refined",
    "search_steps": "steps of refining them",
    "eta": "occlusion times mean occlusion that a vertex must pass to be a candidate of contact",
    "contact_points": "candidates of contact of one side of an image, at most; 0: all",
}
STARTS = ("search", "published")

OURS = Recipe(weights=ALONE, lr=(0.05, 0.02), final_lr=0.01, beta2=0.99)
RELEASED = Recipe(
    weights=ALONE, second_share=1 / 11, fresh=False, coordinates="smpl", objective="mean", background=True
)


class FlowPrior(FittedMethod):
    """Fits with a learned prior; see `wildhoi.method.Method`."""

    def __init__(self, info: MethodInfo, recipe: Recipe, choices: Choices, settings: Mapping[str, Any]) -> None:
        """Settle the settings; the priors are read when they are needed.

        Raises:
            InputError: one is unknown or of the wrong kind.
        """
        self._priors: dict[str, TrainedPrior] = {}
        own = {name: value for name, value in settings.items() if name in MEANINGS}
        rest = {name: value for name, value in settings.items() if name not in MEANINGS}
        require_known(info.name, rest, [*recipe.options(), *MEANINGS])
        apart = rest.get("contact", TOUCHING["contact"]) == 0 == rest.get("contact_nearest", 0)
        weights = ALONE if apart else TOUCHING
        super().__init__(info, replace(recipe, weights=weights), rest)
        self.choices = _settled(info.name, choices, own)
        self.folder = find_priors(self.choices.checkpoint) if self.choices.checkpoint else None
        if self.choices.start == "search" and self.settings["coordinates"] != "camera":
            raise InputError(f"{info.name}: start=search moves objects in camera coordinates; give start=published")
        plain = {name: getattr(self.choices, name) for name in MEANINGS}
        found = facts_of(self.folder)
        self.settings = {
            **self.settings,
            **plain,
            "checkpoint": "" if self.folder is None else self.folder.name,
            "hashes": {name: fact.weights for name, fact in found.items()},
            "trained": {name: fact.training for name, fact in found.items()},
        }
        options = {name: Option(getattr(choices, name), meaning) for name, meaning in MEANINGS.items()}
        supervision = " and ".join(sorted({fact.supervision for fact in found.values()})) or info.supervision
        looks = SHOWN if any(fact.looks for fact in found.values()) and self.settings["prior"] else ()
        read = {*self.info.inputs, *looks}
        inputs = tuple(name for name in INPUTS if name in read)
        self.info = replace(self.info, inputs=inputs, supervision=supervision, options={**self.info.options, **options})

    def reconstruct(self, samples: Sequence[Sample], setup: Setup) -> Any:
        """Fit samples of one object and one gender."""
        name = samples[0].object
        if name not in self._priors:
            self._priors[name] = self._read(setup.template(name))
        self.seed, self.trained = setup.seed, self._priors[name]
        return super().reconstruct(samples, setup)

    @property
    def _touches(self) -> bool:
        return bool(self.settings["contact"] or self.settings["contact_nearest"])

    def _read(self, template: Template) -> TrainedPrior:
        if self.folder is None:
            raise InputError(
                f"{self.info.name}: no checkpoint; give --checkpoint DIR, as `wildhoi train flow-prior` wrote it"
            )
        trained = read_prior(self.folder, template)
        expected = (self.choices.hashes or {}).get(template.category.name)
        if expected is not None and expected[:HASH] != str(trained.facts.get("weights"))[:HASH]:
            raise InputError(
                f"{self.folder}: the weights of {template.category.name} are not those wanted (hash {expected}); "
                "train with the same data, options and versions, or leave hashes out"
            )
        if self._touches and trained.contact is None:
            raise InputError(f"{self.folder}: has no mean occlusion maps, for contact; --no-contact fits without")
        return trained

    def _lack(self, sample: Sample) -> str:
        if self.settings["prior"] and self.trained.prior.encoder.context and sample.image is None:
            return "no picture, which the prior is conditioned on; one trained with --condition none needs none"
        return super()._lack(sample)

    def _observe(self, samples: Sequence[Sample], template: Template, body: BodyModel) -> Observation:
        seen = super()._observe(samples, template, body)
        if self._touches:
            seen = self._touching(seen, samples, body)
        if not self.settings["prior"]:
            return seen
        return replace(seen, prior=condition(self.trained.prior, samples, body.device, body.dtype))

    def _touching(self, seen: Observation, samples: Sequence[Sample], body: BodyModel) -> Observation:
        """With the vertices that may touch (paper, equation 14)."""
        means = self.trained.contact
        assert means is not None
        if len(means["human"]) != body.n_vertices:
            got, want = len(means["human"]), body.n_vertices
            raise InputError(
                f"{self.folder}: mean occlusion maps of a body of {got} vertices, want {want}; train again"
            )
        found: dict[str, Any] = {}
        for side in ("human", "object"):
            maps = [np.asarray(getattr(sample, f"{side}_occlusion")) for sample in samples]
            index, weight = contact_candidates(maps, means[side], self.choices.eta, self.choices.contact_points)
            found[f"{side}_contact"], found[f"{side}_weight"] = index, weight
        return replace(seen, **found).to(body.device, body.dtype)

    def _more_parameters(self, samples: Sequence[Sample], seen: Observation) -> dict[str, Tensor]:
        self._drawn = cameras = None
        if isinstance(seen.prior, Conditioned):
            cameras = draw_cameras(seen.prior, [s.image_id for s in samples], self.choices.cameras, self.seed)
            self._drawn = cameras
        return {} if cameras is None else {CAMERAS: cameras.clone()}

    def _numbers(self, problem: Problem) -> dict[str, float]:
        """How far the virtual cameras have moved since they were drawn: the median, metres."""
        if self._drawn is None:
            return {}
        return {"camera_drift": float((problem.parameters[CAMERAS].detach() - self._drawn).norm(dim=-1).median())}

    def _stages(self, template: Template) -> list[Stage]:
        moved = (CAMERAS,) if self.choices.camera_lr else ()
        rates = {CAMERAS: self.choices.camera_lr}
        return [replace(s, train=(*s.train, *moved), own_lr=rates) for s in super()._stages(template)]

    def _begin(self, problem: Problem, template: Template, stages: Sequence[Stage]) -> None:
        if self.choices.start == "search" and self.settings["prior"]:
            weights = {"prior": self.settings["prior"], "scale": self.settings["scale_decay"]}
            how = Search(self.choices.candidates, self.choices.search_steps, **weights)
            search(problem, stages[0], template.symmetry(), how)


def _settled(where: str, choices: Choices, given: Mapping[str, Any]) -> Choices:
    """The choices with those given, checked."""
    for name, value in given.items():
        default = getattr(choices, name)
        if name in ("hashes", "trained"):
            fine = value is None or (isinstance(value, Mapping) and all(isinstance(v, str) for v in value.values()))
            wanted = "a table of texts"
        elif isinstance(default, str):
            fine, wanted = isinstance(value, str | Path), "text"
        else:
            whole = isinstance(default, int)
            number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            least = 1 if name in ("cameras", "candidates") else 0
            fine, wanted = number and least <= value < 1e6, f"a {'whole ' if whole else ''}number from {least}"
        if name == "start":
            fine, wanted = value in STARTS, " or ".join(STARTS)
        if not fine:
            raise InputError(f"{where}: {name} is {value!r}, want {wanted}")
    changes: dict[str, Any] = {name: str(v) if isinstance(v, Path) else v for name, v in given.items()}
    return replace(choices, **changes)


def build_flow_prior(settings: Mapping[str, Any]) -> FlowPrior:
    """The flow prior, started where the prior likes an object's depth best.

    Raises:
        InputError: a setting is unknown or of the wrong kind.
    """
    summary = "flow prior learned from 2D images, and contact from mean occlusion; objects' depths searched first"
    info = MethodInfo("flow-prior", summary, INPUTS, SUPERVISION["2d"], paper=PAPER, code=CODE)
    return FlowPrior(info, OURS, Choices(), settings)


def build_alone(settings: Mapping[str, Any]) -> FlowPrior:
    """`flow-prior` without contact, as a method of its own: the paper's other row.

    Raises:
        InputError: a setting is unknown or of the wrong kind.
    """
    summary = "flow-prior without contact: what the prior does alone"
    info = MethodInfo("flow-prior-no-contact", summary, INPUTS, SUPERVISION["2d"], paper=PAPER, code=CODE)
    return FlowPrior(info, OURS, Choices(), {"contact": 0.0, **settings})


def build_released(settings: Mapping[str, Any]) -> FlowPrior:
    """The flow prior as the authors' code fits it: from the estimated pose, one optimiser throughout.

    Raises:
        InputError: a setting is unknown or of the wrong kind.
    """
    summary = "the flow prior as the authors' released code fits it, from the estimated pose"
    info = MethodInfo("flow-prior-released", summary, INPUTS, SUPERVISION["2d"], paper=PAPER, code=CODE)
    return FlowPrior(info, RELEASED, Choices(cameras=16, start="published", contact_points=0), settings)
