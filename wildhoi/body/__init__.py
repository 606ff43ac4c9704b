"""Body models: the open body, SMPL-X and SMPL-H behind one adapter; the only importer of `smplx`."""

from wildhoi.body.conversion import convert_body
from wildhoi.body.loading import load_body
from wildhoi.body.model import BodyModel, JointTransforms, Surface
from wildhoi.body.people import PosedPeople, body_parameters, pose_people, pose_person

__all__ = [
    "BodyModel",
    "JointTransforms",
    "PosedPeople",
    "Surface",
    "body_parameters",
    "convert_body",
    "load_body",
    "pose_people",
    "pose_person",
]
