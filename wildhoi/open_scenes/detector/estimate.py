"""The estimated body: the true one disturbed as estimators err, then tuned to the detected keypoints."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from wildhoi.body import BodyModel, body_parameters
from wildhoi.open_scenes.detector.settings import BodyNoise
from wildhoi.schema import N_BODY_JOINTS, Camera, Human

# The group of each of the 22 joints in the table of errors; the pelvis has the camera's.
GROUPS = (
    "camera", "leg", "leg", "trunk", "leg", "leg", "trunk", "foot", "foot", "trunk", "foot", "foot", "head", "trunk",
    "trunk", "head", "arm", "arm", "arm", "arm", "wrist", "wrist",
)  # fmt: skip


def disturb_human(human: Human, body: BodyModel, rng: np.random.Generator, noise: BodyNoise) -> Human:
    """Err in shape, in the directions of the bones and in the fingers.

    A bone's direction errs in space by a share of what the bone above errs by, and by something of its own; a joint
    turns by what is left between the two. So a limb may lean as a whole, while its end stays within centimetres.
    """
    betas = human.betas + noise.shape * rng.standard_normal(10)
    betas[0] = human.betas[0] + noise.size * rng.standard_normal()
    errors = _bone_errors(body.parents[: N_BODY_JOINTS + 1], rng, noise)
    hands = np.radians(noise.finger) * rng.standard_normal((2, *human.left_hand_pose.shape))
    return Human(
        betas=betas,
        body_pose=_turn_bones(human, body, errors),
        left_hand_pose=human.left_hand_pose + hands[0],
        right_hand_pose=human.right_hand_pose + hands[1],
    )


def _bone_errors(
    parents: Int[np.ndarray, "22"], rng: np.random.Generator, noise: BodyNoise
) -> Float[np.ndarray, "22 3"]:
    """Turns of the bones in space, axis-angle; none of the pelvis, whose direction is the frame's."""
    own = np.radians([getattr(noise, group) for group in GROUPS])[:, None] * rng.standard_normal((len(parents), 3))
    errors = np.zeros_like(own)
    for joint in range(1, len(parents)):
        errors[joint] = noise.carry * errors[parents[joint]] + own[joint]
    return errors


def _turn_bones(human: Human, body: BodyModel, errors: Float[np.ndarray, "22 3"]) -> Float[np.ndarray, "21 3"]:
    """The body pose after every bone is turned in space by its error."""
    rotations = body.joint_transforms(*body_parameters([human], body)).rotations[0, : len(errors)].cpu().numpy()
    turned = Rotation.from_rotvec(errors) * Rotation.from_matrix(rotations)
    above = turned[body.parents[1 : len(errors)]]
    return np.asarray((above.inv() * turned[1:]).as_rotvec())


def disturb_camera(camera: Camera, rng: np.random.Generator, noise: BodyNoise) -> Camera:
    """Err in how the person is turned towards the camera, about the pelvis; focal and principal point are given."""
    turn = Rotation.from_rotvec(np.radians(noise.camera) * rng.standard_normal(3)).as_matrix()
    return Camera(turn @ camera.rotation, camera.translation, camera.focal, camera.principal_point)
