"""Samples of the shipped data set as problems to fit, away from their estimates, for the tests of the losses."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from baselines.fitting import Problem
from baselines.observation import observe
from baselines.painter import Painter
from baselines.parts import matched_parts, released_parts
from baselines.placement import SmplCoordinates
from baselines.scene import BODY, CAMERAS, HumanState, ObjectState, Scene, State
from baselines.touching import contact_candidates
from submissions import unchecked
from wildhoi.body import body_parameters, load_body
from wildhoi.dataset import find_data, find_sample
from wildhoi.schema import Human, ObjectPose
from wildhoi.templates import SHIPPED, load_template

TRIED = ("barbell", "basketball", "bicycle", "cello")
"""Ends that look alike, a sphere, a joint, and none of these."""
N_HUMAN, N_OBJECT = 23, 17
"""Vertices of each side that may touch, in the made-up occlusion maps."""
THRESHOLD = 0.05
SPREAD = 0.3
"""Metres: of the made-up prior."""


@dataclass(frozen=True)
class Whitened:
    """A made-up prior: how far each ray passes from the pelvis is normal about 0, with a `spread` (b,) by picture."""

    spread: torch.Tensor

    def score(self, points, cameras):
        """Log-density by camera, mean over dimensions, but for constants."""
        offsets = points[:, None] - cameras[:, :, None]
        distance = cameras.norm(dim=-1)[..., None, None]
        passed = offsets / offsets.norm(dim=-1, keepdim=True) * distance + cameras[:, :, None]
        return -0.5 * passed.square().mean((2, 3)) / self.spread[:, None].square()

    def take(self, rows):
        """The same for some pictures."""
        return Whitened(self.spread[rows])


@cache
def samples_of(name):
    """The test samples of a category."""
    with unchecked():
        return [find_sample(find_data("open-sample"), f"{name}-test-{row:05}") for row in range(3)]


@cache
def body(dtype=torch.float64, device="cpu"):
    return load_body("open", dtype=dtype, device=device)


@cache
def template(name):
    with unchecked():
        return load_template(SHIPPED / name)


@cache
def scene(name, *, released=False, dtype=torch.float64, device="cpu", fixed=False):
    with unchecked():
        model = body(dtype, device)
        parts = (released_parts if released else matched_parts)(model, template(name))
        return Scene(model, template(name), parts, Painter(fixed=fixed))


def occlusion(sample, n_vertices, count):
    """A made-up occlusion map of a sample, and a mean map: some vertices pass the threshold, some do not."""
    rng = np.random.default_rng(sum(map(ord, sample.image_id)) + n_vertices)
    chosen = np.zeros(n_vertices)
    chosen[rng.choice(n_vertices, count + int(rng.integers(5)), replace=False)] = 1
    return chosen, np.linspace(0.01, 1, n_vertices)


@cache
def start(name):
    """Parameters of all samples of a category, well off their estimates; SMPL frame, float64."""
    rng = np.random.default_rng(len(name))
    samples = samples_of(name)
    with unchecked():
        people = body_parameters([sample.human for sample in samples], body())
    noise = [torch.from_numpy(0.05 * rng.normal(size=tensor.shape)) for tensor in people]
    found = {key: tensor + off for key, tensor, off in zip(BODY, people, noise, strict=True)}
    poses = [s.object_pose if s.object_pose_success else ObjectPose(np.eye(3), np.zeros(3)) for s in samples]
    six = np.stack([pose.rotation[:2].ravel() for pose in poses])
    arrays = {
        "object_rotation": six + 0.05 * rng.normal(size=six.shape),
        "object_translation": np.stack([pose.translation for pose in poses]) + 0.1 * rng.normal(size=(len(poses), 3)),
        "object_scale": np.array([[pose.scale] for pose in poses]) * (1 + 0.1 * rng.uniform(-1, 1, (len(poses), 1))),
    }
    if template(name).category.joint is not None:
        arrays["object_angle"] = 0.3 + 0.1 * rng.normal(size=(len(poses), 1))
    return found | {key: torch.from_numpy(array) for key, array in arrays.items()}


def virtual_cameras(name):
    """Where four virtual cameras of each sample of a category stand, 3 to 40 m away."""
    rng = np.random.default_rng(len(name) + 1)
    directions = rng.normal(size=(3, 4, 3))
    return torch.from_numpy(directions / np.linalg.norm(directions, axis=-1, keepdims=True) * [[[3.0]], [[10]], [[40]]])


def spreads():
    """Of the made-up prior, by sample."""
    return SPREAD * torch.arange(1.0, 4.0, dtype=torch.float64)


def problem(
    name, rows=(0, 1, 2), *, released=False, background=False, dtype=torch.float64, device="cpu", fixed=False, seen=None
):
    """Some samples of a category as a batch, with made-up contact candidates; the object moved in the SMPL frame."""
    chosen = [samples_of(name)[row] for row in rows] if seen is None else seen
    with unchecked():
        observation = observe(chosen, template(name), background=background)
    maps = {}
    for side, n_vertices, count in (
        ("human", body().n_vertices, N_HUMAN),
        ("object", len(template(name).vertices), N_OBJECT),
    ):
        pairs = [occlusion(sample, n_vertices, count) for sample in chosen]
        maps[f"{side}_contact"], maps[f"{side}_weight"] = contact_candidates(
            [one for one, _ in pairs], pairs[0][1], THRESHOLD
        )
    given = start(name) | {CAMERAS: virtual_cameras(name)}
    parameters = {key: value[list(rows)].to(device, dtype) for key, value in given.items()}
    prior = Whitened(spreads()[list(rows)].to(device, dtype))
    return Problem(
        scene(name, released=released, dtype=dtype, device=device, fixed=fixed),
        replace(observation, prior=prior, **maps).to(torch.device(device), dtype),
        SmplCoordinates(),
        parameters,
    )


def put_at(of, target, offsets):
    """Move each object until its mean vertex lies behind (metres along the camera's z) a point of the SMPL frame."""
    with unchecked():
        means = of.state().object.means[:, 0]
    ahead = of.observation.cameras.rotation[:, 2]  # the camera's z in the SMPL frame
    depth = torch.as_tensor(offsets, dtype=means.dtype, device=means.device)[:, None]
    of.parameters["object_translation"] = of.parameters["object_translation"] + target - means + depth * ahead
    return of


def put_in_depth(of, offsets):
    """Move each object along the camera's z until it is so far behind the person, their mean vertices compared."""
    with unchecked():
        state = of.state()
    ahead = of.observation.cameras.rotation[:, 2:]
    beside = state.object.means[:, 0] - state.human.means[:, 0]
    return put_at(of, state.object.means[:, 0] - ((ahead @ beside[..., None]) * ahead)[:, 0], offsets)


def value_of(function, of):
    """A term of every image of a problem, worked out afresh."""
    with unchecked():
        return function(of.state(), of.observation)


def human_of(parameters, row):
    """One row's body as a record."""
    return Human(*(parameters[key][row].double().numpy() for key in BODY))


def pose_of(parameters, row):
    """One row's object as a record: the first two rows of its rotation made orthonormal by hand."""
    first, second = parameters["object_rotation"][row].double().numpy().reshape(2, 3)
    first = first / np.sqrt(first @ first)
    second = second - (first @ second) * first
    second = second / np.sqrt(second @ second)
    rotation = np.stack([first, second, np.cross(first, second)])
    angle = float(parameters["object_angle"][row, 0]) if "object_angle" in parameters else None
    return ObjectPose(
        rotation, parameters["object_translation"][row].double().numpy(), float(parameters["object_scale"][row, 0]),
        angle,
    )  # fmt: skip


def drawn_state(of, person, person_faces, thing, thing_faces, cameras):
    """A state of two meshes given in the camera's frame, for terms that look at nothing but what is drawn."""
    made = Scene.__new__(Scene)
    made.painter, made.body_faces, made.faces = of.painter, person_faces, thing_faces
    parameters = {key: torch.zeros(len(person), 1, dtype=person.dtype) for key in BODY}
    human = HumanState(made, cameras, parameters)
    human.__dict__["seen"] = person
    eye = torch.eye(3, dtype=thing.dtype).expand(len(thing), 3, 3)
    size = torch.ones(len(thing), 1, dtype=thing.dtype)
    object_state = ObjectState(made, cameras, eye, thing.new_zeros(len(thing), 3), size)
    object_state.__dict__["seen"] = thing
    return State(human, object_state, parameters)
