"""What every converted template says of itself: in the report, and in the `info.json` beside its meshes."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wildhoi.files import write_text
from wildhoi.templates import Template


@dataclass
class TemplateReport:
    """What was found of a template: numbers in metres, and notes on what does not fit the table."""

    vertices: list[int] = field(default_factory=list)
    faces: list[int] = field(default_factory=list)
    extents: list[float] = field(default_factory=list)
    expected_extents: list[float] = field(default_factory=list)
    mean_offset: float = 0.0
    keypoints: int = 0
    contact_parts: int = 0
    notes: list[str] = field(default_factory=list)


def write_info(folder: Path, template: Template, report: TemplateReport, **more: Any) -> None:
    """Write `info.json` of a template folder, and the same numbers into the report; metres.

    Args:
        folder: of the template.
        template: as it was written.
        report: gets the extents of the whole template, and how far its mean vertex is off the origin.
        more: further entries of the file.

    Raises:
        InputError: the mesh is too dense to take the diameter of.
    """
    report.extents = [round(float(size), 4) for size in np.ptp(template.vertices, axis=0)]
    report.mean_offset = round(float(np.linalg.norm(template.vertices.mean(axis=0))), 6)
    info = {
        "extents": report.extents,
        "diameter": round(template.diameter, 6),
        "vertices": len(template.vertices),
        "faces": len(template.faces),
        **more,
    }
    write_text(folder / "info.json", json.dumps(info) + "\n")
