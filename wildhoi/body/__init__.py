"""Body models: the open body, SMPL-X and SMPL-H behind one adapter; the only importer of `smplx`."""

from wildhoi.body.conversion import convert_body
from wildhoi.body.loading import load_body
from wildhoi.body.model import BodyModel, JointTransforms, Surface

__all__ = ["BodyModel", "JointTransforms", "Surface", "convert_body", "load_body"]
