"""A template as its parts, keypoints and contact regions, and its assembly into numbered vertices."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from tools.templates.mesh import Part, joined, refined, write_ply
from wildhoi.files import canonical_json, write_text

CONTACT_EDGE = 0.0198
"""Longest edge in metres where hands, feet or bodies touch, a little below the 2 cm promised."""
GRID = 5
"""Decimals kept of a coordinate in metres, so that the last bit of a sine never changes a file."""
ALWAYS = (-np.inf, np.inf)

Range = tuple[float, float]


@dataclass(frozen=True)
class Keypoint:
    """The vertices of one part that are nearest to a point, all those within `slack` metres of the nearest.

    A point on the axis of a round part therefore takes a whole ring, whose mean is on the axis.
    """

    name: str
    part: str
    point: tuple[float, float, float]
    slack: float = 2e-4


@dataclass(frozen=True)
class Region:
    """The vertices of one part inside a box."""

    part: str
    x: Range = ALWAYS
    y: Range = ALWAYS
    z: Range = ALWAYS

    def holds(self, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
        """Tell which points lie inside the box."""
        low, high = np.array([self.x, self.y, self.z], dtype=float).T
        return np.asarray(((points >= low) & (points <= high)).all(axis=1))


@dataclass(frozen=True)
class Template:
    """What a builder returns, in a frame of its own choice.

    Args:
        meshes: file stem -> parts; the concatenation in this order numbers the vertices.
        keypoints: in the order of the keypoint table.
        contact: contact part -> regions.
        extents: full bounding-box extents in metres; each axis is scaled (by about 1) to meet them.
        mean_centred: the axes shifted to put the mean vertex at zero; the others are symmetric already.
        box_centred: the axes shifted to put the middle of the bounding box at zero.
        turned: rotation from the builder's frame to the template's.
        contact_edge: longest edge in metres around contact vertices.
    """

    meshes: dict[str, list[Part]]
    keypoints: list[Keypoint]
    contact: dict[str, list[Region]]
    extents: tuple[float, float, float]
    mean_centred: str = ""
    box_centred: str = ""
    turned: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))
    contact_edge: float = CONTACT_EDGE


@dataclass(frozen=True)
class Assembled:
    """A template ready to be written: meshes by file stem, vertex indices into their concatenation."""

    meshes: dict[str, tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]]
    keypoints: dict[str, list[int]]
    contact: dict[str, list[int]]


def assemble(template: Template) -> Assembled:
    """Refine the parts around their contact regions, number keypoints and contact parts, and fix size and origin."""
    regions = [region for part in template.contact.values() for region in part]
    meshes = {
        stem: [_dense(part, regions, template.contact_edge) for part in parts]
        for stem, parts in template.meshes.items()
    }
    parts = [part for mesh in meshes.values() for part in mesh]
    vertices, _ = joined(parts)
    owner = np.repeat([part.name for part in parts], [len(part.vertices) for part in parts])
    keypoints = {str(k): _nearest(point, vertices, owner) for k, point in enumerate(template.keypoints, start=1)}
    contact = {name: _inside(held, vertices, owner) for name, held in template.contact.items()}
    final, start, files = _placed(vertices, template), 0, {}
    for stem, mesh in meshes.items():
        count, faces = sum(len(part.vertices) for part in mesh), joined(mesh)[1]
        files[stem] = (final[start : start + count], faces)
        start += count
    return Assembled(files, keypoints, contact)


def write(assembled: Assembled, folder: Path) -> None:
    """Write the meshes, `keypoints.json` and `contact.json` of a template into its folder."""
    for stem, (vertices, faces) in assembled.meshes.items():
        write_ply(folder / f"{stem}.ply", vertices, faces)
    # key order is keypoint order, which sorted keys would break from the tenth on
    rows = ",\n".join(f'"{key}": {canonical_json(indices)}' for key, indices in assembled.keypoints.items())
    write_text(folder / "keypoints.json", f"{{\n{rows}\n}}\n")
    rows = ",\n".join(f'"{key}": {canonical_json(indices)}' for key, indices in assembled.contact.items())
    write_text(folder / "contact.json", f"{{\n{rows}\n}}\n")


def _dense(part: Part, regions: list[Region], longest: float) -> Part:
    own = [region for region in regions if region.part == part.name]
    if not own:
        return part
    return refined(part, lambda points: np.any([region.holds(points) for region in own], axis=0), longest)


def _nearest(keypoint: Keypoint, vertices: Float[np.ndarray, "v 3"], owner: Shaped[np.ndarray, "v"]) -> list[int]:
    distance = np.linalg.norm(vertices - np.array(keypoint.point), axis=1)
    distance[owner != keypoint.part] = np.inf
    if not np.isfinite(distance).any():
        raise ValueError(f"keypoint {keypoint.name!r}: there is no part {keypoint.part!r}")
    return np.flatnonzero(distance <= distance.min() + keypoint.slack).tolist()


def _inside(regions: list[Region], vertices: Float[np.ndarray, "v 3"], owner: Shaped[np.ndarray, "v"]) -> list[int]:
    held = np.any([region.holds(vertices) & (owner == region.part) for region in regions], axis=0)
    return np.flatnonzero(held).tolist()


def _placed(vertices: Float[np.ndarray, "v 3"], template: Template) -> Float[np.ndarray, "v 3"]:
    """Turn, scale to the extents, shift to the origin and round to the grid."""
    turned = vertices @ template.turned.T
    scaled = turned * (np.array(template.extents) / np.ptp(turned, axis=0))
    for axis, name in enumerate("xyz"):
        if name in template.mean_centred:
            scaled[:, axis] -= scaled[:, axis].mean()
        if name in template.box_centred:
            scaled[:, axis] -= (scaled[:, axis].min() + scaled[:, axis].max()) / 2
    return np.asarray(np.round(scaled, GRID) + 0.0)
