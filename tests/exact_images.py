"""Samples whose detections are what their truth projects to, exactly: nothing is noisy, nothing is covered."""

from dataclasses import replace

import numpy as np
import torch

from wildhoi.body import load_body, pose_person
from wildhoi.body.wholebody import FITTED, fitted_index
from wildhoi.geometry import project
from wildhoi.rendering import interpolate, rasterize
from wildhoi.schema import Annotation, Sample
from wildhoi.templates import Template

CELLS = 64
"""Of the correspondence map, along the longer side of its box."""


def exact_sample(truth: Annotation, template: Template) -> Sample:
    """An image of a truth: exact keypoints and correspondences, and the truth as estimates."""
    pose, camera = truth.object_pose, truth.camera
    vertices, joints = pose_person(truth.human, load_body("open"))
    points = np.concatenate([joints, vertices])[fitted_index(load_body("open"))]
    keypoints = np.zeros((133, 3))
    keypoints[FITTED, :2] = project(
        points @ camera.rotation.T + camera.translation, camera.focal, camera.principal_point
    )
    keypoints[FITTED, 2] = 1
    grid, box = exact_map(truth, template)
    return Sample(
        truth.image_id,
        truth.object,
        truth.video_id,
        human=truth.human,
        camera=camera,
        focal=camera.focal,
        principal_point=camera.principal_point,
        object_pose=replace(pose, angle=pose.angle),
        object_pose_success=True,
        wholebody_keypoints=keypoints,
        object_correspondences=grid,
        object_correspondences_box=box,
    )


def exact_map(truth: Annotation, template: Template) -> tuple[np.ndarray, np.ndarray]:
    """The map of the posed template, as a grid of cells over its box, in float64; the object is not covered."""
    camera = truth.camera
    seen = template.posed(truth.object_pose, articulate=True) @ camera.rotation.T + camera.translation
    pixels = project(seen, camera.focal, camera.principal_point)
    low, high = pixels.min(0), pixels.max(0)
    step = (high - low).max() / CELLS
    columns, rows = np.ceil((high - low) / step).astype(int)
    # a picture whose pixel (i, j) is the cell (i, j): the frame seen through a coarser grid
    focal, middle = camera.focal / step, (camera.principal_point - low) / step
    faces = torch.from_numpy(template.faces)
    raster = rasterize(
        torch.from_numpy(seen)[None], faces, torch.from_numpy(focal)[None], torch.from_numpy(middle)[None],
        (int(rows), int(columns)),
    )  # fmt: skip
    grid = interpolate(torch.from_numpy(template.vertices), faces, raster)[0].numpy()
    return grid, np.array([low[0], low[1], columns * step, rows * step])
