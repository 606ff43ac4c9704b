"""Draw the frames and units of the data into one picture: `python -m tools.render_frames [--out FILE]`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int, UInt8
from PIL import Image

from tools.poses import ARMS_DOWN, LEFT_ELBOW, LEFT_SHOULDER, RIGHT_ELBOW, RIGHT_SHOULDER, RIGHT_WRIST
from wildhoi.body import load_body
from wildhoi.geometry import axis_rotation, project
from wildhoi.rendering import picture
from wildhoi.schema import Camera, ObjectPose
from wildhoi.templates import SHIPPED, load_template

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUT = Path(__file__).parents[1] / "wildhoi" / "assets" / "frames.png"
WIDTH, HEIGHT, DPI = 1200, 870, 100
BACKGROUND, LINE, INK, SOFT = (250, 250, 251), (226, 229, 233), "#2b2f36", "#6b717b"
SKIN, WOOD, METAL = (0.80, 0.66, 0.56), (0.97, 0.62, 0.30), (0.34, 0.37, 0.42)
AXIS_INK = ("#d6404a", "#2f9e4f", "#3566d6")
X, Y, Z = np.eye(3)

THING = "tennis"
POSE = ARMS_DOWN | {
    RIGHT_SHOULDER: (0, 62, 12),
    RIGHT_ELBOW: (0, 22, 0),
    LEFT_SHOULDER: (0, 0, -72),
    LEFT_ELBOW: (0, -12, 0),
}
TURN = axis_rotation(Y, np.radians(-38)) @ axis_rotation(Z, np.radians(-8))
"""The object's rotation in the SMPL frame."""

CAMERA = Camera(np.diag([1.0, -1.0, -1.0]), np.array([0.02, 0.02, 3.1]), np.full(2, 405.0), np.array([119.5, 172.0]))
"""The image's camera, in front of the person, nearer than those of the data; its picture has `PICTURE` pixels."""
PICTURE, PLANE = (240, 320), 1.3
"""Width and height, pixels; where the image plane is drawn, metres before the camera."""

Mesh = tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"], Float[np.ndarray, "v 3"]]


def observer() -> Camera:
    """The camera of the drawing: it sees the person from the right and from above, the image's camera to the right."""
    forward = np.array([0.86, -0.30, -0.50])
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, Y) / np.linalg.norm(np.cross(forward, Y))
    rotation = np.stack([right, np.cross(forward, right), forward])
    middle, distance, metre = np.array([0.0, -0.02, 1.22]), 9.0, 324.0
    return Camera(
        rotation, -rotation @ middle + [0, 0, distance], np.full(2, metre * distance), np.array([520.0, 462.0])
    )


def see(points: Float[np.ndarray, "n 3"], camera: Camera) -> Float[np.ndarray, "n 2"]:
    """Pixels of points of the SMPL frame."""
    return project(points @ camera.rotation.T + camera.translation, camera.focal, camera.principal_point)


def person_and_thing() -> tuple[list[Mesh], ObjectPose]:
    """The open body that holds the object, and the object's pose."""
    body, template = load_body("open"), load_template(SHIPPED / THING)
    betas, pose, hand = np.zeros((1, 10)), np.zeros((1, 21, 3)), np.zeros((1, 15, 3))
    for row, degrees in POSE.items():
        pose[0, row] = np.radians(degrees)
    with torch.no_grad():
        posed = body.surface(*(torch.from_numpy(array) for array in (betas, pose, hand, hand)))
    joints = posed.joints[0].numpy()
    hold = template.keypoints["7"] * 0.6 + template.keypoints["2"] * 0.4
    place = ObjectPose(TURN, joints[RIGHT_WRIST] + [-0.0, -0.02, 0.09] - TURN @ hold)
    meshes = [
        (posed.vertices[0].numpy(), np.asarray(body.faces), np.tile(SKIN, (body.n_vertices, 1))),
        (template.posed(place), template.faces, np.tile(WOOD, (len(template.vertices), 1))),
    ]
    return meshes, place


def camera_body() -> Mesh:
    """A box and a lens where the image's camera stands."""
    box = trimesh.creation.box((0.26, 0.18, 0.13))
    box.apply_translation([0, 0, -0.085])
    lens = trimesh.creation.cylinder(0.065, 0.1, sections=48)
    lens.apply_translation([0, 0, 0.02])
    whole = trimesh.util.concatenate([trimesh.graph.smooth_shade(part, angle=0.5) for part in (box, lens)])
    points = (np.asarray(whole.vertices) - CAMERA.translation) @ CAMERA.rotation
    return points, np.asarray(whole.faces, np.int64), np.tile(METAL, (len(points), 1))


def render(meshes: list[Mesh], camera: Camera, background: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Draw meshes over a picture."""
    offsets = np.cumsum([0, *(len(vertices) for vertices, _, _ in meshes[:-1])])
    vertices = np.concatenate([mesh[0] for mesh in meshes]) @ camera.rotation.T + camera.translation
    faces = np.concatenate([mesh[1] + offset for mesh, offset in zip(meshes, offsets, strict=True)])
    pixels = picture(
        torch.from_numpy(vertices)[None],
        torch.from_numpy(faces),
        torch.from_numpy(camera.focal)[None],
        torch.from_numpy(camera.principal_point)[None],
        background.shape[:2],
        colors=torch.from_numpy(np.concatenate([mesh[2] for mesh in meshes])),
        background=torch.from_numpy(background)[None],
    )
    return np.asarray(pixels[0].numpy())


def floor(view: Camera, height: float) -> UInt8[np.ndarray, "h w 3"]:
    """The background with a floor of half-metre squares."""
    canvas = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
    ends = [([x, height, -0.75], [x, height, 3.5]) for x in np.arange(-0.75, 0.76, 0.5)]
    ends += [([-0.75, height, z], [0.75, height, z]) for z in np.arange(-0.75, 3.3, 0.5)]
    for line in ends:
        a, b = np.round(see(np.array(line), view) * 16).astype(int)
        cv2.line(canvas, tuple(map(int, a)), tuple(map(int, b)), LINE, 1, cv2.LINE_AA, 4)
    return canvas


def plane_corners() -> Float[np.ndarray, "4 3"]:
    """The corners of the picture on the image plane, SMPL frame: around from its upper left."""
    width, height = PICTURE
    pixels = np.array([(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)])
    points = np.c_[(pixels - CAMERA.principal_point) / CAMERA.focal, np.ones(4)] * PLANE
    return np.asarray((points - CAMERA.translation) @ CAMERA.rotation)


def hang(
    canvas: UInt8[np.ndarray, "h w 3"], taken: UInt8[np.ndarray, "ph pw 3"], view: Camera
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay the camera's picture over the drawing where the image plane is."""
    height, width = taken.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32) - np.float32(0.5)
    matrix = cv2.getPerspectiveTransform(corners, see(plane_corners(), view).astype(np.float32))
    size = (canvas.shape[1], canvas.shape[0])
    warped = cv2.warpPerspective(taken, matrix, size, flags=cv2.INTER_AREA).astype(float)
    cover = cv2.warpPerspective(np.ones((height, width)), matrix, size, flags=cv2.INTER_LINEAR)[..., None]
    return np.asarray((canvas * (1 - 0.96 * cover) + 0.96 * warped * (cover > 0)).clip(0, 255).round(), np.uint8)


def arrow(axes: "Axes", start: np.ndarray, end: np.ndarray, colour: str, **style: Any) -> None:
    """An arrow with a white edge, between pixels."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.patheffects import Normal, Stroke

    width, order = style.pop("lw", 3.0), style.pop("zorder", 5)
    patch = FancyArrowPatch(
        tuple(start), tuple(end), arrowstyle="-|>", mutation_scale=16, color=colour, lw=width, shrinkA=0, shrinkB=0,
        zorder=order, joinstyle="miter", **style,
    )  # fmt: skip
    patch.set_path_effects([Stroke(linewidth=width + 2.5, foreground="white"), Normal()])
    axes.add_patch(patch)


def label(axes: "Axes", at: np.ndarray, words: str, colour: str, **style: Any) -> None:
    """Words with a white edge, about a pixel."""
    from matplotlib.patheffects import withStroke

    edge = [withStroke(linewidth=3, foreground="white")]
    look = {"fontsize": 14, "weight": "bold", "style": "italic"} | style
    axes.text(*at, words, color=colour, ha="center", va="center", zorder=12, path_effects=edge, **look)


def tripod(axes: "Axes", view: Camera, origin: np.ndarray, directions: np.ndarray, length: float) -> None:
    """The three axes of a frame, red, green and blue, with their names."""
    tips = [origin + (length + beyond) * direction for beyond in (0, 0.07) for direction in directions]
    start, *places = see(np.array([origin, *tips]), view)
    for end, at, colour, name in zip(places[:3], places[3:], AXIS_INK, "xyz", strict=True):
        arrow(axes, start, end, colour)
        label(axes, at, name, colour)
    axes.scatter(*start, s=46, color="white", edgecolors=INK, linewidths=1.6, zorder=7)


def note(axes: "Axes", x: float, y: float, title: str, formula: str, words: str) -> None:
    """A title, a formula and what it means, from the upper left."""
    axes.text(x, y, title, fontsize=13.5, weight="bold", color=INK, va="top", zorder=8)
    axes.text(x, y + 27, formula, fontsize=15, color=INK, va="top", zorder=8)
    lines = 28 if formula else 0
    axes.text(x, y + 27 + lines, words, fontsize=10.5, color=SOFT, va="top", linespacing=1.5, zorder=8)


def draw_scene(axes: "Axes", view: Camera, thing: ObjectPose) -> None:
    """The frames over the rendered scene."""
    eye = -CAMERA.rotation.T @ CAMERA.translation
    corners = plane_corners()
    for corner in corners:
        axes.plot(*see(np.array([eye, corner]), view).T, color=SOFT, lw=0.9, alpha=0.75, zorder=3)
    outline = see(np.r_[corners, corners[:1]], view)
    axes.plot(*outline.T, color=INK, lw=1.4, zorder=3)
    tripod(axes, view, np.zeros(3), np.eye(3), 0.5)
    tripod(axes, view, thing.translation, thing.rotation.T, 0.24)
    tripod(axes, view, eye, CAMERA.rotation, 0.34)
    edges = see(
        np.array([corners[0], 0.62 * corners[0] + 0.38 * corners[1], 0.74 * corners[0] + 0.26 * corners[3]]), view
    )
    for end, colour, name, shift in zip(edges[1:], AXIS_INK, "xy", ((0, -15), (-14, 0)), strict=False):
        arrow(axes, edges[0], end, colour, lw=2.2)
        label(axes, end + shift, name, colour)
    start, end = see(np.array([np.zeros(3), thing.translation]), view)
    arrow(axes, start, end, INK, lw=1.6, linestyle=(0, (4, 2)))
    label(axes, (start + end) / 2 + [14, 8], "t", INK)
    label(axes, start + np.array([-34, 16]), "pelvis", SOFT, fontsize=10, style="normal", weight="normal")


def draw_pixels(axes: "Axes", left: float, top: float, cell: float) -> None:
    """The upper left corner of a picture, enlarged: points at the middle of pixels."""
    from matplotlib.patches import Rectangle

    columns, rows = 4, 3
    shades = ((0.93, 0.90, 0.93, 0.91), (0.90, 0.93, 0.82, 0.88), (0.94, 0.86, 0.78, 0.82))
    for y in range(rows):
        for x in range(columns):
            place = (left + x * cell, top + y * cell)
            axes.add_patch(
                Rectangle(place, cell, cell, facecolor=str(shades[y][x]), edgecolor="white", lw=1.2, zorder=8)
            )
            axes.scatter(place[0] + cell / 2, place[1] + cell / 2, s=9, color=SOFT, zorder=9)
    # the axes start in the middle of the first pixel: that is the point (0, 0)
    first = np.array([left + cell / 2, top + cell / 2])
    for colour, name, step, count in ((AXIS_INK[0], "x", X[:2], columns), (AXIS_INK[1], "y", Y[:2], rows)):
        end = first + count * cell * step
        arrow(axes, first, end, colour, lw=1.8, zorder=10)
        label(axes, end + 12 * step, name, colour, fontsize=12)
    axes.scatter(*first, s=34, color=INK, zorder=11)
    label(axes, first - np.array([0, 30]), "(0, 0)", INK, fontsize=9.5, style="normal")
    shown = first + cell * np.array([2, 1])
    axes.scatter(*shown, s=34, color=INK, zorder=11)
    label(axes, shown + np.array([0, 12]), "(2, 1)", INK, fontsize=9.5, style="normal")


NOTES = (
    (
        (30, 26), "SMPL frame", "",
        ("the body at zero orientation,", "its pelvis joint at the origin;", "x to the person's left, y up, z forward;",
         "metres, rotations in radians"),
    ),
    (
        (425, 26), "Template of the object", r"$x \;=\; s\,R\,v \;+\; t$",
        ("object_pose places the template's", "points v, metres, in the SMPL frame;", "s is 1 for its own size"),
    ),
    (
        (815, 26), "Camera", r"$x_{cam} \;=\; R\,x \;+\; t$",
        ("x right, y down, z forward; metres;", "drawn near: the wild set's stand", "tens of metres away"),
    ),
    (
        (655, 706), "Image", r"$u = f_x X / Z + c_x \qquad v = f_y Y / Z + c_y$",
        ("pixels of the full frame:", "the pixel (x, y) is the point (x, y)"),
    ),
)  # fmt: skip
"""Where, a title, a formula, and what is to be known of each frame."""


def main() -> None:
    """Render the scene, draw the frames over it and write the picture with a palette."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    view, (meshes, thing) = observer(), person_and_thing()
    taken = render(meshes, CAMERA, np.full((PICTURE[1], PICTURE[0], 3), 236, np.uint8))
    ground = floor(view, float(meshes[0][0][:, 1].min()))
    canvas = hang(render([*meshes, camera_body()], view, ground), taken, view)
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
    agg = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-0.5, WIDTH - 0.5), ylim=(HEIGHT - 0.5, -0.5))
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.axis("off")
    draw_scene(axes, view, thing)
    for (x, y), title, formula, words in NOTES:
        note(axes, x, y, title, formula, "\n".join(words))
    draw_pixels(axes, 1008, 716, 38)
    agg.draw()
    whole = Image.fromarray(np.asarray(agg.buffer_rgba())[..., :3].copy())
    whole.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)
    sys.stdout.write(f"{out}: {out.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
