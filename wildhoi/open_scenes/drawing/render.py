"""Drawing the pictures of the open set and the masks that belong to them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from wildhoi.open_scenes.drawing.backgrounds import draw_scenery
from wildhoi.open_scenes.drawing.looks import Light, Look
from wildhoi.open_scenes.drawing.paint import Paint
from wildhoi.open_scenes.drawing.sensor import photograph
from wildhoi.rendering.occlusion import occlusion
from wildhoi.rendering.pictures import vertex_normals
from wildhoi.rendering.raster import rasterize

FINE = 2
"""Samples along a pixel's side. A power of two: focal and principal point times two are exact, so that every other
sample is the very one that a raster of the picture's own size takes, and masks come from the same raster."""

WRAP = 0.2  # how far round a body the lamp's light reaches: skin and cloth scatter
SHARPNESS = 24  # exponent of highlights
NEARBY = 7  # pixels at 256 to either side whose surfaces darken what lies behind them
SHADE_DEPTH = 0.12  # metres behind them at which the shade is full


class Drawing(NamedTuple):
    """Pictures, and who is where in them: the masks of what is seen, and the whole silhouettes."""

    images: UInt8[np.ndarray, "b s s 3"]
    person: Bool[np.ndarray, "b s s"]
    thing: Bool[np.ndarray, "b s s"]
    person_whole: Bool[np.ndarray, "b s s"]
    thing_whole: Bool[np.ndarray, "b s s"]


class _Layer(NamedTuple):
    """One mesh of one picture with its paint and its fine raster."""

    vertices: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]
    paint: Paint
    face: Int[Tensor, "h w"]
    barycentric: Float[Tensor, "h w 3"]


def draw(
    looks: Sequence[Look],
    human: Float[Tensor, "b v 3"],
    thing: Float[Tensor, "b n 3"],
    human_faces: Int[Tensor, "f 3"],
    thing_faces: Int[Tensor, "g 3"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
    size: int,
) -> Drawing:
    """Draw a batch of scenes; each picture is the same alone and in any batch, and no shadow falls on the background.

    Args:
        looks: of each picture.
        human: vertices, metres, camera frame.
        thing: likewise.
        human_faces: counter-clockwise from outside.
        thing_faces: likewise.
        focal: (fx, fy), pixels.
        principal_point: (cx, cy), pixels of the picture.
        size: pixels along either side of the square picture.
    """
    drawings = []
    for i, look in enumerate(looks):  # one at a time: a picture's buffers fit a processor's cache, a batch's do not
        one = slice(i, i + 1)
        camera = focal[one] * FINE, principal_point[one] * FINE, (size * FINE, size * FINE)
        fine = rasterize(human[one], human_faces, *camera), rasterize(thing[one], thing_faces, *camera)
        seen = occlusion(*fine)
        layers = (
            _Layer(human[i], human_faces, look.person, fine[0].face[0], fine[0].barycentric[0]),
            _Layer(thing[i], thing_faces, look.thing, fine[1].face[0], fine[1].barycentric[0]),
        )
        depth = torch.minimum(fine[0].depth[0], fine[1].depth[0])
        light = _lit(layers, (seen.human_visible[0], seen.object_visible[0]), depth, look.light)
        image = photograph(_laid_over(light, draw_scenery(look.scenery, size)), look.sensor)
        masks = (seen.human_visible, seen.object_visible, fine[0].face >= 0, fine[1].face >= 0)
        drawings.append((image, *(mask[0, ::FINE, ::FINE].cpu().numpy() for mask in masks)))
    return Drawing(*(np.stack(parts) for parts in zip(*drawings, strict=True)))


def draw_background(look: Look, size: int) -> UInt8[np.ndarray, "s s 3"]:
    """The picture without person and thing: what they leave seen of it tells nothing of them."""
    return photograph(draw_scenery(look.scenery, size), look.sensor)


def _lit(
    layers: Sequence[_Layer],
    visible: tuple[Bool[Tensor, "h w"], Bool[Tensor, "h w"]],
    depth: Float[Tensor, "h w"],
    light: Light,
) -> Float32[Tensor, "4 s s"]:
    """Linear light and coverage of the foreground, averaged over each pixel's samples."""
    shade = 1 - light.contact_shade * _behind(depth)
    canvas = torch.zeros((4, *depth.shape), device=depth.device)
    for layer, mask in zip(layers, visible, strict=True):
        y, x = torch.nonzero(mask, as_tuple=True)
        colour = _shaded(layer, y, x, light) * shade[y, x, None]
        canvas[:3, y, x] = colour.T
        canvas[3, y, x] = 1
    return _averaged(canvas)


def _shaded(layer: _Layer, y: Int[Tensor, " n"], x: Int[Tensor, " n"], light: Light) -> Float32[Tensor, "n 3"]:
    """Linear light that the given samples of a mesh send to the camera."""
    normals = vertex_normals(layer.vertices[None], layer.faces)[0].float()
    device, paint = normals.device, layer.paint
    cloth_and_fields = np.concatenate([paint.relief, paint.cloth, paint.fields], axis=1)
    table = torch.cat([normals, torch.from_numpy(cloth_and_fields).to(device)], 1)
    corners, weights = layer.faces[layer.face[y, x]].long(), layer.barycentric[y, x].float()
    values = torch.as_tensor(sum(weights[:, i, None] * table[corners[:, i]] for i in range(3)))
    normal, relief, cloth, fields = values[:, :3], values[:, 3:6], values[:, 6:8], values[:, 8:]
    region = _uppermost(fields)
    folds, gloss = (torch.from_numpy(part).to(device)[region, None] for part in (paint.folds, paint.gloss))
    bumpy = normalize(normalize(normal, dim=1) + folds * relief, dim=1)
    return _light_on(bumpy, _coloured(paint, region, cloth), gloss, light)


def _uppermost(fields: Float32[Tensor, "n k"]) -> Int[Tensor, " n"]:
    """The last region whose field is positive; the first covers all."""
    order = torch.arange(1, fields.shape[1] + 1, device=fields.device)
    return ((fields > 0) * order).amax(1).sub(1).clamp(min=0)


def _coloured(paint: Paint, region: Int[Tensor, " n"], cloth: Float32[Tensor, "n 2"]) -> Float32[Tensor, "n 3"]:
    """Linear colours of samples, stripes and checks included."""
    device = region.device
    colours, accents, waves = (torch.from_numpy(t).to(device) for t in (paint.colours, paint.accents, paint.waves))
    base = colours[region]
    if not paint.waves.any():
        return base
    frequency = waves[region]
    running = (frequency > 0).float()
    inside = (torch.sin(2 * torch.pi * frequency * cloth) > 0).float() * running
    share = (inside[:, :1] + inside[:, 1:]) / (running[:, :1] + running[:, 1:]).clamp(min=1)
    return base + share * (accents[region] - base)


def _light_on(
    normal: Float32[Tensor, "n 3"], colour: Float32[Tensor, "n 3"], gloss: Float32[Tensor, "n 1"], light: Light
) -> Float32[Tensor, "n 3"]:
    """Lambert's light that wraps, a sky above, a ground below, highlights and a sheen at grazing angles."""
    lamp, key, sky, bounce = (
        torch.from_numpy(part).to(normal.device) for part in (light.direction, light.key, light.sky, light.bounce)
    )
    x, y, z = normal[:, :1], normal[:, 1:2], normal[:, 2:]
    towards = x * lamp[0] + y * lamp[1] + z * lamp[2]
    above = 0.5 - 0.5 * y
    diffuse = key * ((towards + WRAP) / (1 + WRAP)).clamp(min=0) + sky * above + bounce * (1 - above)
    halfway = normalize(lamp - lamp.new_tensor([0.0, 0.0, 1.0]), dim=0)
    facing = (x * halfway[0] + y * halfway[1] + z * halfway[2]).clamp(min=0)
    sheen = (1 - z.abs()).clamp(0, 1) ** 4
    return colour * diffuse + gloss * (key * facing**SHARPNESS * (towards > 0) + 0.5 * sky * sheen * above)


def _behind(depth: Float[Tensor, "h w"]) -> Float32[Tensor, "h w"]:
    """How far each sample lies behind the surfaces beside it, 0 to 1: the shade where limbs and thing come close.

    Depth less its mean over a neighbourhood, taken over the foreground alone (Luft, Colditz and Deussen 2006).
    """
    import cv2

    coarse = depth[::FINE, ::FINE].cpu().numpy()
    covered = np.isfinite(coarse)
    if not covered.any():
        return torch.zeros_like(depth, dtype=torch.float32)
    relative = np.where(covered, coarse - coarse[covered].min(), 0).astype(np.float32)
    width = 2 * max(1, round(NEARBY * len(coarse) / 256)) + 1
    means = [cv2.blur(part, (width, width)) for part in (relative, covered.astype(np.float32))]
    shade = np.clip((relative - means[0] / np.maximum(means[1], 1e-6)) / SHADE_DEPTH, 0, 1).astype(np.float32)
    return torch.from_numpy(shade).to(depth.device).repeat_interleave(FINE, 0).repeat_interleave(FINE, 1)


def _averaged(canvas: Float32[Tensor, "4 h w"]) -> Float32[Tensor, "4 s s"]:
    """Average the samples about each pixel's centre, weights 1/4, 1/2, 1/4 along either side."""
    first = torch.cat([canvas[:, :1], canvas], 1)
    rows = (first[:, :-2:FINE] + first[:, 2::FINE]) / 4 + first[:, 1:-1:FINE] / 2
    first = torch.cat([rows[:, :, :1], rows], 2)
    return (first[:, :, :-2:FINE] + first[:, :, 2::FINE]) / 4 + first[:, :, 1:-1:FINE] / 2


def _laid_over(
    light: Float32[Tensor, "4 s s"], background: Float32[np.ndarray, "s s 3"]
) -> Float32[np.ndarray, "s s 3"]:
    """The foreground, whose light is weighted by its coverage already, over the background."""
    layers = light.permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(layers[..., :3] + background * (1 - layers[..., 3:]))
