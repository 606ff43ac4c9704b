"""One picture of one image: what was detected, the posed meshes over it and from the side, the correspondences."""

from wildhoi.show.figure import render_image
from wildhoi.show.scene import Shown

__all__ = ["Shown", "render_image"]
