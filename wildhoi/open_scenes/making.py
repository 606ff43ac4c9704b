"""Scenes made: who does what is drawn, solved, checked and drawn again until it holds, and looked at by one camera."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildhoi.body import BodyModel
from wildhoi.body.layout import BODY_JOINTS
from wildhoi.interactions import Interaction
from wildhoi.open_scenes.cameras import draw_camera, load_camera_settings
from wildhoi.open_scenes.posing.checks import check
from wildhoi.open_scenes.posing.settings import PosingSettings, load_posing_settings
from wildhoi.open_scenes.posing.solving import Posed, into_smpl_frame, mirrored, solve_wishes
from wildhoi.open_scenes.posing.wishes import Person, draw_person, draw_wish
from wildhoi.open_scenes.randomness import generator
from wildhoi.open_scenes.scene import Scene, as_stored
from wildhoi.rendering import Raster, occlusion, rasterize
from wildhoi.schema import Human, ObjectPose
from wildhoi.templates import Template

BATCH = 16
"""Scenes solved at once; the same numbers come out whatever else is in the batch only if the batch is the same."""


@dataclass(frozen=True)
class Role:
    """A scene before it is posed: its name, and what is done in it."""

    scene_id: str
    seed: int
    interaction: Interaction

    def person(self, attempt: int, settings: PosingSettings) -> Person:
        """Who acts; somebody else after every so many refused attempts, since not everybody can hold everything."""
        return draw_person(
            generator(self.seed, self.scene_id, "person", attempt // int(settings.checks["same_person"])), settings
        )


@dataclass
class Made:
    """Scenes, and what was drawn again on the way: (scene, reason) for every refused attempt."""

    scenes: list[Scene]
    redrawn: list[tuple[str, str]]
    failed: list[str]


def draw_role(scene_id: str, seed: int, template: Template, kinds: Sequence[str]) -> Role:
    """Draw who does what in a scene."""
    interactions = template.category.interactions
    chosen = [interactions[kind] for kind in kinds or interactions]
    shares = np.array([interaction.share for interaction in chosen])
    rng = generator(seed, scene_id, "role")
    interaction = chosen[int(rng.choice(len(chosen), p=shares / shares.sum()))]
    return Role(scene_id, seed, interaction)


def make_scenes(roles: Sequence[Role], template: Template, body: BodyModel) -> Made:
    """Pose, check and film scenes of one object; those that do not hold are drawn again, so many times at most.

    Args:
        roles: who does what.
        template: of the object.
        body: the body model.

    Returns:
        the scenes that hold in the order of their roles, every refusal, and the scenes that never held.
    """
    settings = load_posing_settings()
    made = Made([], [], [])
    found: dict[str, Scene] = {}
    for kind in dict.fromkeys(role.interaction.name for role in roles):
        waiting = [role for role in roles if role.interaction.name == kind]
        for attempt in range(int(settings.checks["attempts"])):
            refused = []
            for start in range(0, len(waiting), BATCH):
                refused += _attempt(waiting[start : start + BATCH], attempt, template, body, found, made)
            waiting = refused
            if not waiting:
                break
        made.failed += [role.scene_id for role in waiting]
    made.scenes = [found[role.scene_id] for role in roles if role.scene_id in found]
    return made


def _attempt(
    roles: Sequence[Role],
    attempt: int,
    template: Template,
    body: BodyModel,
    found: dict[str, Scene],
    made: Made,
) -> list[Role]:
    """Solve a batch once; what holds is found, the rest is given back."""
    settings, interaction = load_posing_settings(), roles[0].interaction
    wishes = [
        draw_wish(interaction, template, generator(role.seed, role.scene_id, "wish", attempt), settings)
        for role in roles
    ]
    people = [role.person(attempt, settings) for role in roles]
    solved = solve_wishes(interaction, template, body, people, wishes, settings)
    posed = into_smpl_frame(solved, wishes)
    refused = []
    for role, scene, verdict in zip(roles, posed, check(solved, posed, template, settings), strict=True):
        reason = verdict.reason(settings)
        if reason is None:
            found[role.scene_id] = _filmed(role, scene, template, body)
        else:
            made.redrawn.append((role.scene_id, reason))
            refused.append(role)
    return refused


def _filmed(role: Role, posed: Posed, template: Template, body: BodyModel) -> Scene:
    """The scene seen by its camera, drawn until enough of the object is seen; a share of scenes is seen in a mirror."""
    rng = generator(role.seed, role.scene_id, "camera")
    stored = _stored(mirrored(posed) if rng.uniform() < role.interaction.mirrored else posed)
    skin, joints = pose_surface(stored.human, body)
    thing = template.posed(stored.object_pose, articulate=True)
    window = load_camera_settings().window
    for _ in range(window["attempts"]):
        seen = draw_camera(skin, thing, joints[: len(BODY_JOINTS)], stored.upright, rng)
        scene = Scene(
            role.scene_id,
            template.category.name,
            role.interaction.name,
            stored.human,
            stored.object_pose,
            *seen,
            upright=stored.upright,
            visible=0.0,
        )
        visible = visible_share(scene, skin, thing, body, template)
        if visible >= window["visible"]:
            break
    return replace(scene, visible=visible)


def visible_share(
    scene: Scene, skin: Float[np.ndarray, "v 3"], thing: Float[np.ndarray, "n 3"], body: BodyModel, template: Template
) -> float:
    """The share of the object's silhouette that neither the person nor the frame's edge hides, rounded to float32."""
    camera, (x, y, side) = scene.camera, scene.window

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array[None], dtype=body.dtype, device=body.device)

    lens = tensor(camera.focal), tensor(camera.principal_point - [x, y])

    def raster(points: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"]) -> Raster:
        placed = tensor(points @ camera.rotation.T + camera.translation)
        return rasterize(placed, torch.as_tensor(faces, device=body.device), *lens, (side, side))

    rasters = raster(skin, body.faces), raster(thing, template.faces)
    seen = occlusion(*rasters).object_visible[0].cpu().numpy()
    left, top, width, height = scene.image_box
    shown = seen[top - y : top - y + height, left - x : left - x + width].sum()
    whole = int((rasters[1].face >= 0).sum())
    return float(np.float32(shown / max(whole, 1)))


def pose_surface(human: Human, body: BodyModel) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "j 3"]]:
    """Vertices and joints of a person, SMPL frame, metres."""
    arrays = (human.betas, human.body_pose, human.left_hand_pose, human.right_hand_pose)
    with torch.no_grad():
        tensors = [torch.as_tensor(array[None], dtype=body.dtype, device=body.device) for array in arrays]
        found = body.surface(*tensors)
    return found.vertices[0].double().cpu().numpy(), found.joints[0].double().cpu().numpy()


def _stored(posed: Posed) -> Posed:
    """The scene as float32 columns hold it, so that pictures show exactly what the files say."""
    human, pose = posed.human, posed.object_pose
    return Posed(
        Human(*(as_stored(a) for a in (human.betas, human.body_pose, human.left_hand_pose, human.right_hand_pose))),
        ObjectPose(
            as_stored(pose.rotation),
            as_stored(pose.translation),
            float(np.float32(pose.scale)),
            None if pose.angle is None else float(np.float32(pose.angle)),
        ),
        as_stored(posed.upright),
        posed.pelvis_height,
    )
