"""Pictures of images: what was detected, posed meshes over it and from the side, correspondences; and sheets."""

from wildhoi.show.figure import render_image
from wildhoi.show.scene import Shown
from wildhoi.show.sheet import render_sheet

__all__ = ["Shown", "render_image", "render_sheet"]
