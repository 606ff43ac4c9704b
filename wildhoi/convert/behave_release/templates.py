"""The object templates of the release: the simplified scans, moved so that their mean vertex is the origin."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int

from wildhoi.convert.behave_release.facts import load_facts
from wildhoi.convert.template_report import TemplateReport, write_info
from wildhoi.errors import MissingAssetError
from wildhoi.files import write_text
from wildhoi.meshes import read_mesh, read_vertex_groups, write_ply
from wildhoi.objects import BehaveFacts, Category
from wildhoi.templates import read_template


@dataclass(frozen=True, eq=False)
class ScanTemplate:
    """A template as poses apply to it: vertices minus their mean; metres, never merged or reordered."""

    vertices: Float32[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    mean: Float[np.ndarray, "3"]


def find_scan(raw: Path, name: str, facts: BehaveFacts) -> Path:
    """The simplified mesh of an object: the file that the table of objects names, else another simplification.

    Raises:
        MissingAssetError: there is none.
    """
    folder = raw / "objects" / name
    names = [facts.template, *(pattern.format(name=name) for pattern in load_facts()["templates"]["candidates"])]
    path: Path | None = next((folder / file for file in names if (folder / file).is_file()), None)
    if path is None:
        raise MissingAssetError(
            f"{folder}: no template of {name}, looked for {', '.join(dict.fromkeys(names))}; "
            "unpack BEHAVE's objects.zip there"
        )
    return path


def read_scan(path: Path) -> ScanTemplate:
    """Read a simplified mesh and move it.

    Raises:
        InputError: the file is no mesh.
    """
    mesh = read_mesh(path)
    mean = mesh.vertices.mean(axis=0, dtype=np.float64)
    return ScanTemplate((mesh.vertices - mean).astype(np.float32), mesh.faces, np.asarray(mean))


def convert_scan(raw: Path, category: Category, facts: BehaveFacts, out: Path) -> TemplateReport:
    """Write the template folder of an object: mesh, keypoints where the release has them, and `info.json`.

    Raises:
        InputError: the mesh or the keypoint file is invalid.
        MissingAssetError: there is no mesh.
    """
    path = find_scan(raw, category.name, facts)
    scan = read_scan(path)
    write_ply(out / category.meshes[0], scan.vertices, scan.faces)
    report = TemplateReport([len(scan.vertices)], [len(scan.faces)])
    if path.name != facts.template:
        report.notes.append(f"made from {path.name}, scores are defined on {facts.template}")
    if len(scan.vertices) != facts.template_vertices:
        report.notes.append(f"has {len(scan.vertices)} vertices, the published one {facts.template_vertices}")
    keypoints = _keypoints(raw, category.name, len(scan.vertices))
    report.keypoints = len(keypoints)
    if keypoints:
        write_text(out / "keypoints.json", json.dumps(keypoints) + "\n")
    if keypoints and len(keypoints) != facts.keypoints:
        report.notes.append(f"has {len(keypoints)} keypoints, the published one {facts.keypoints}")
    write_info(out, read_template(out), report, mean=[float(value) for value in scan.mean])
    return report


def _keypoints(raw: Path, name: str, n_vertices: int) -> dict[str, list[int]]:
    """The keypoints of an object; none where the release, as usual, has no such file."""
    places = [raw / pattern.format(name=name) for pattern in load_facts()["templates"]["keypoints"]]
    path = next((place for place in places if place.is_file()), None)
    return read_vertex_groups(path, n_vertices) if path is not None else {}
