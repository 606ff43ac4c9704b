"""Scenes made: who does what is drawn, solved, checked and drawn again until it holds, and looked at by one camera."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildhoi.body import BodyModel, pose_person
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
        turn = attempt // int(settings.checks["same_person"])
        return draw_person(generator(self.seed, self.scene_id, "person", turn), settings)


@dataclass(frozen=True)
class Made:
    """Scenes, and what was drawn again on the way: (scene, reason) for every refused attempt."""

    scenes: list[Scene]
    redrawn: list[tuple[str, str]]


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
        the scenes that hold, in the order of their roles, and every refusal; a scene that never held is missing.
    """
    attempts = int(load_posing_settings().checks["attempts"])
    found: dict[str, Scene] = {}
    redrawn: list[tuple[str, str]] = []
    for kind in dict.fromkeys(role.interaction.name for role in roles):
        waiting = [role for role in roles if role.interaction.name == kind]
        for attempt in range(attempts):
            refused = []
            for role, posed, reason in _attempts(waiting, attempt, template, body):
                if reason is None:
                    found[role.scene_id] = _filmed(role, posed, template, body)
                else:
                    redrawn.append((role.scene_id, reason))
                    refused.append(role)
            waiting = refused
    return Made([found[role.scene_id] for role in roles if role.scene_id in found], redrawn)


def _attempts(
    roles: Sequence[Role], attempt: int, template: Template, body: BodyModel
) -> Iterator[tuple[Role, Posed, str | None]]:
    """Solve scenes of one interaction once, batch by batch: each with the reason for which it does not hold."""
    settings = load_posing_settings()
    for start in range(0, len(roles), BATCH):
        batch = roles[start : start + BATCH]
        streams = [generator(role.seed, role.scene_id, "wish", attempt) for role in batch]
        wishes = [draw_wish(batch[0].interaction, template, stream, settings) for stream in streams]
        people = [role.person(attempt, settings) for role in batch]
        solved = solve_wishes(batch[0].interaction, template, body, people, wishes, settings)
        posed = into_smpl_frame(solved, wishes)
        verdicts = check(solved, posed, template, settings)
        reasons = [verdict.reason(settings) for verdict in verdicts]
        yield from zip(batch, posed, reasons, strict=True)


def _filmed(role: Role, posed: Posed, template: Template, body: BodyModel) -> Scene:
    """The scene seen by its camera, drawn until enough of the object is seen; a share of scenes is seen in a mirror."""
    rng = generator(role.seed, role.scene_id, "camera")
    stored = _stored(mirrored(posed) if rng.uniform() < role.interaction.mirrored else posed)
    skin, joints = pose_person(stored.human, body)
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
