"""Templates: the mesh, keypoints and contact parts of a category, read from a folder and posed in the SMPL frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import canonical_json, sha256_file, sha256_text
from wildhoi.geometry import axis_rotation
from wildhoi.meshes import read_mesh, read_vertex_groups
from wildhoi.objects import Category, Spec, Symmetry, find_category, resolve_symmetry
from wildhoi.schema import ObjectPose

MAX_EXTREME_POINTS = 10_000  # the diameter takes the distances of all pairs of them: 400 MB
MOST_BODY_VERTICES = 10_475  # SMPL-X's
SHIPPED = Path(__file__).parent / "assets" / "objects"


@dataclass(frozen=True, eq=False)
class Template:
    """A category's mesh in the template frame, metres; meshes of several files are concatenated in the table's order.

    `keypoint_vertices` are the vertices whose mean a keypoint is, by id; `contact_vertices` the parts that hands, feet
    or bodies touch, and `human_contact_vertices` the parts of the body that touch the part of the same name, where the
    data set's authors name them. `sha256` is taken of the mesh files and the keypoint file.
    """

    category: Category
    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    mesh_sizes: tuple[int, ...]
    keypoint_vertices: Mapping[str, Int[np.ndarray, "_"]]
    contact_vertices: Mapping[str, Int[np.ndarray, "_"]]
    sha256: str
    human_contact_vertices: Mapping[str, Int[np.ndarray, "_"]] = field(default_factory=dict)

    @cached_property
    def keypoints(self) -> dict[str, Float[np.ndarray, "3"]]:
        """The keypoints by id, template frame, metres."""
        return dict(zip(self.keypoint_vertices, self.keypoints_at(self.vertices), strict=True))

    def keypoints_at(self, vertices: Float[np.ndarray, "*b v 3"]) -> Float[np.ndarray, "*b k 3"]:
        """The keypoints in their order where the vertices are elsewhere, such as those of a posed template."""
        found = np.empty((*vertices.shape[:-2], len(self.keypoint_vertices), 3))
        for row, index in enumerate(self.keypoint_vertices.values()):
            found[..., row, :] = vertices.take(index, axis=-2).mean(axis=-2)
        return found

    @cached_property
    def extreme_points(self) -> Float[np.ndarray, "n 3"]:
        """The vertices of the convex hull, where the norm of any affine map is largest."""
        try:
            return np.asarray(self.vertices[ConvexHull(self.vertices).vertices])
        except QhullError:  # a flat template has no hull in space
            return self.vertices

    @cached_property
    def diameter(self) -> float:
        """The largest distance of two vertices, metres; raises InputError for a mesh too dense to take it of."""
        if len(self.extreme_points) > MAX_EXTREME_POINTS:
            found = f"{len(self.extreme_points)} vertices on its convex hull, or no volume"
            wanted = f"want a simplified mesh, at most {MAX_EXTREME_POINTS} there"
            raise InputError(f"template of {self.category.name}: has {found}; {wanted}")
        return float(pdist(self.extreme_points).max())

    @cached_property
    def joint_vertices(self) -> slice:
        """The vertices that the joint moves: those of its mesh file; none without a joint."""
        if self.category.joint is None:
            return slice(0, 0)
        position = self.category.meshes.index(self.category.joint.mesh)
        return slice(sum(self.mesh_sizes[:position]), sum(self.mesh_sizes[: position + 1]))

    def symmetry(self, override: Spec | None = None) -> Symmetry:
        """The category's symmetry on this template; `override` replaces single entries of the table."""
        try:
            return resolve_symmetry({**self.category.symmetry, **(override or {})}, self.keypoints)
        except InputError as error:
            raise InputError(f"template of {self.category.name}: {error}") from None

    def articulated(self, angle: float) -> Float[np.ndarray, "v 3"]:
        """The vertices with the movable part turned by `angle` radians; unchanged without a joint."""
        if self.category.joint is None:
            return self.vertices
        first, second = (self.keypoints[name] for name in self.category.joint.axis_keypoints)
        turned = self.vertices.copy()
        part = self.joint_vertices
        turned[part] = (turned[part] - first) @ axis_rotation(second - first, angle).T + first
        return turned

    def posed(self, pose: ObjectPose, *, articulate: bool = False) -> Float[np.ndarray, "v 3"]:
        """The vertices in the SMPL frame, metres: `scale * R v + t`; `articulate` turns the movable part first."""
        vertices = self.articulated(pose.angle) if articulate and pose.angle is not None else self.vertices
        return np.asarray(pose.scale * vertices @ pose.rotation.T + pose.translation)


def find_template(folder: Path, name: str, *, shipped: bool = False) -> Path:
    """The folder of a category's template, `folder/NAME`; where it is absent, the shipped one if that is allowed.

    Raises:
        MissingAssetError: there is none, or a mesh of it is missing.
    """
    place = SHIPPED / name if shipped and not (folder / name).exists() else folder / name
    missing = [mesh for mesh in find_category(name).meshes if not (place / mesh).is_file()]
    if missing:
        raise MissingAssetError(
            f"template of {name}: {place} has no {' and no '.join(missing)}; "
            "convert the release that has it with `wildhoi data convert`"
        )
    return place


@lru_cache(maxsize=64)
def load_template(folder: Path) -> Template:
    """Read the template folder of a category, once per process; raises as `read_template` does."""
    return read_template(folder)


def read_template(folder: Path) -> Template:
    """Read the template folder of a category; the folder's name is the category's.

    Raises:
        InputError: a mesh or an index file is invalid.
    """
    category = find_category(folder.name)
    meshes = [read_mesh(folder / name) for name in category.meshes]
    sizes = tuple(len(mesh.vertices) for mesh in meshes)
    offsets = np.cumsum((0, *sizes[:-1]))
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    hashed = {
        name: sha256_file(folder / name) for name in (*category.meshes, "keypoints.json") if (folder / name).is_file()
    }
    return Template(
        category=category,
        vertices=vertices,
        faces=np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]),
        mesh_sizes=sizes,
        keypoint_vertices=_groups(folder / "keypoints.json", len(vertices)),
        contact_vertices=_groups(folder / "contact.json", len(vertices)),
        sha256=sha256_text(canonical_json(hashed)),
        human_contact_vertices=_groups(folder / "human_contact.json", MOST_BODY_VERTICES),
    )


def _groups(path: Path, n_vertices: int) -> dict[str, np.ndarray]:
    """The vertex groups of an index file as integer arrays; none where the file is absent."""
    if not path.is_file():
        return {}
    return {name: np.asarray(index, np.int64) for name, index in read_vertex_groups(path, n_vertices).items()}
