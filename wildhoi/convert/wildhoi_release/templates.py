"""The templates of the WildHOI release in the form of a data folder: meshes, keypoints in use, contact parts."""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from wildhoi.convert.template_report import TemplateReport, write_info
from wildhoi.errors import InputError
from wildhoi.files import write_text
from wildhoi.meshes import Mesh, read_mesh, read_vertex_groups, write_ply
from wildhoi.objects import Category, Release
from wildhoi.templates import MOST_BODY_VERTICES, read_template

EXTENT_TOLERANCE = 0.01
CENTRE_TOLERANCE = 0.01


def convert_template(category: Category, data: Path, out: Path) -> TemplateReport:
    """Write the template folder of a category from `data/objects` and `data/contact` of the release.

    Raises:
        InputError: a mesh, keypoint or contact file is absent (contact parts may be) or invalid.
    """
    release = require_release(category)
    report = TemplateReport(expected_extents=list(release.extents))
    meshes = [read_mesh(data / "objects" / name) for name in release.meshes]
    for name, mesh in zip(category.meshes, meshes, strict=True):
        write_ply(out / name, mesh.vertices.astype(np.float32), mesh.faces)
    report.vertices, report.faces = [len(mesh.vertices) for mesh in meshes], [len(mesh.faces) for mesh in meshes]
    keypoints = _keypoints(release, meshes, data / "objects", report)
    _write_groups(out / "keypoints.json", keypoints)
    contact = _contact(release, meshes, data / "contact", report)
    if contact:
        _write_groups(out / "contact.json", contact)
    people = data / "contact" / release.human_contact
    if contact and people.is_file():  # parts of the body, by the names of the object's parts that they touch
        _write_groups(out / "human_contact.json", read_vertex_groups(people, MOST_BODY_VERTICES))
    report.keypoints, report.contact_parts = len(keypoints), len(contact)
    write_info(out, read_template(out), report)
    _check_geometry(len(release.meshes) == 1, report)
    return report


def require_release(category: Category) -> Release:
    """What the table says of the category's files.

    Raises:
        InputError: the category is not one of WildHOI.
    """
    if category.wildhoi is None:
        raise InputError(
            f"object {category.name!r} is not in the WildHOI release, it belongs to {', '.join(category.datasets)}"
        )
    return category.wildhoi


def _check_geometry(centred: bool, report: TemplateReport) -> None:
    """Note where size or centre differ from what the release is known to hold; nothing is changed."""
    expected = np.array(report.expected_extents)
    if (np.abs(np.array(report.extents) - expected) > EXTENT_TOLERANCE * expected).any():
        report.notes.append(f"extents {report.extents} m differ from {report.expected_extents} by more than 1 %")
    # Parts that turn against each other are modelled about a common point that need not be the mean
    if centred and report.mean_offset > CENTRE_TOLERANCE:
        report.notes.append(f"the mean vertex is {report.mean_offset} m off the origin, the release's are centred")


def _offsets(meshes: list[Mesh]) -> list[int]:
    return list(accumulate((len(mesh.vertices) for mesh in meshes[:-1]), initial=0))


def _keypoints(release: Release, meshes: list[Mesh], folder: Path, report: TemplateReport) -> dict[str, list[int]]:
    """The keypoints in use, in the table's order, renumbered from 1, as vertices of the concatenated mesh."""
    groups: list[list[int]] = []
    for (name, ids), mesh, offset in zip(release.keypoints, meshes, _offsets(meshes), strict=True):
        found = read_vertex_groups(folder / name, len(mesh.vertices))
        missing = [key for key in ids if key not in found]
        if missing:
            raise InputError(f"{folder / name}: no keypoint {', '.join(missing)}, has {', '.join(found)}")
        if [key for key in found if key in ids] != list(ids):
            report.notes.append(f"{name} lists its keypoints in another order than {', '.join(ids)}")
        groups += [[index + offset for index in found[key]] for key in ids]
    return {str(number): group for number, group in enumerate(groups, 1)}


def _contact(release: Release, meshes: list[Mesh], folder: Path, report: TemplateReport) -> dict[str, list[int]]:
    """The contact parts as vertices of the concatenated mesh; those of several files are numbered through."""
    parts: list[tuple[str, list[int]]] = []
    for name, mesh, offset in zip(release.contact, meshes, _offsets(meshes), strict=True):
        if not (folder / name).is_file():
            report.notes.append(f"no contact parts: {name} is absent")
            return {}
        found = read_vertex_groups(folder / name, len(mesh.vertices))
        parts += [(key, [index + offset for index in group]) for key, group in found.items()]
    if len(meshes) > 1:
        parts = [(str(number), group) for number, (_, group) in enumerate(parts, 1)]
    return dict(parts)


def _write_groups(path: Path, groups: dict[str, Any]) -> None:
    write_text(path, json.dumps(groups) + "\n")
