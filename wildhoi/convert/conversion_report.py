"""What a conversion did and found: for the eyes, and as `conversion_report.json` and `README.md` of the data folder."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wildhoi.convert.wildhoi_templates import TemplateReport

PUBLISHED = Path(__file__).parents[1] / "assets" / "wildhoi_release.toml"
SHARE_TOLERANCE = 0.02
SHOWN = 20


@dataclass
class ObjectReport:
    """One object: what was written, what was skipped and why, and how well it fits what is known of the release."""

    template: TemplateReport
    images: int = 0
    videos: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    projected: list[str] = field(default_factory=list)
    rotation_error: float = 0.0
    outside_split: list[str] = field(default_factory=list)
    ignored_fields: list[str] = field(default_factory=list)
    share: float = 0.0
    published_share: float | None = None


@dataclass
class ConversionReport:
    """A whole conversion; `revision` names the content that was written."""

    objects: dict[str, ObjectReport] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    revision: str = ""

    def finish(self) -> None:
        """Fill in the shares and compare them with those that the paper's averages imply."""
        published = load_published_shares()
        total = sum(entry.images for entry in self.objects.values())
        for name, entry in self.objects.items():
            entry.share, entry.published_share = round(entry.images / max(total, 1), 4), published.get(name)
        absent = sorted(set(published) - set(self.objects))
        off = [
            name for name, share in published.items() if not absent and abs(self._share(name) - share) > SHARE_TOLERANCE
        ]
        if absent:
            self.notes.append(f"shares of the objects are not comparable with the paper's: no {', '.join(absent)}")
        elif off:
            self.notes.append(f"shares differ from those the paper's averages imply by over 0.02: {', '.join(off)}")
        else:
            self.notes.append("shares of the objects agree with those that the paper's averages imply")

    def _share(self, name: str) -> float:
        return self.objects[name].share

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)

    def to_json(self) -> str:
        """The report as the data folder keeps it: without the revision, which is made from the folder's files."""
        content = self.to_dict()
        del content["revision"]
        return json.dumps(content, indent=1, sort_keys=True) + "\n"

    def to_text(self) -> str:
        """The report for the eyes: a table of the objects, then everything that was noticed."""
        lines = [f"{'object':<14}{'images':>7}{'videos':>7}{'skipped':>8}{'share':>7}{'published':>10}  template"]
        for name, entry in self.objects.items():
            published = "" if entry.published_share is None else f"{entry.published_share:.3f}"
            counts = f"{entry.images:>7}{entry.videos:>7}{len(entry.skipped):>8}{entry.share:>7.3f}"
            lines.append(f"{name:<14}{counts}{published:>10}  {'differs' if entry.template.notes else 'fits'}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.all_notes())])

    def all_notes(self) -> list[str]:
        """Every remark, those about one object with its name."""
        notes = list(self.notes)
        for name, entry in self.objects.items():
            notes += [f"{name}: {note}" for note in entry.template.notes]
            notes += _listed(name, "skipped", [f"{file} ({why})" for file, why in entry.skipped.items()])
            notes += _listed(name, "rotations projected onto the nearest exact one", entry.projected)
            notes += _listed(name, "annotated, but not a test video of the split", entry.outside_split)
            notes += _listed(name, "unknown fields ignored", entry.ignored_fields)
        return notes


def _listed(name: str, what: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return [f"{name}: {what}: {', '.join(items[:SHOWN])}{more}"]


def load_published_shares() -> Mapping[str, float]:
    """The shares of the test images by object that reproduce the paper's overall rows from its per-object ones."""
    shares: Mapping[str, float] = tomllib.loads(PUBLISHED.read_text())["shares"]
    return shares


def render_readme(report: ConversionReport) -> str:
    """The data folder's README: a data-set card whose head names a config for each object."""
    configs = "".join(CONFIG.format(name=name) for name in report.objects)
    rows = "".join(f"| {name} | {entry.images} | {entry.videos} |\n" for name, entry in report.objects.items())
    return CARD.format(configs=configs, rows=rows)


CONFIG = """- config_name: {name}-annotations
  data_files:
  - split: test
    path: annotations/{name}/test-*.parquet
"""

CARD = """---
pretty_name: WildHOI (converted test annotations)
license: other
task_categories:
- other
configs:
{configs}---

# WildHOI, converted

Test annotations and object templates of the WildHOI release (monocular human-object interaction in the wild), in the
folder form of the `wildhoi` package. Made with `wildhoi data convert wildhoi`; nothing but the form was changed.

| object | test images | videos |
|---|---|---|
{rows}
- `annotations/OBJ/test-*.parquet`: one row per image; SMPL-X parameters, the object's pose in the SMPL frame (pelvis at
  the origin, zero orientation), camera. Metres, radians, pixels; rotations row-major; cameras y down, z forward.
- `objects/OBJ/`: template mesh, keypoints (each the mean of its vertices) and contact parts.
- `conversion_report.json`: counts, what was skipped and why, and checks. `checksums.json`: SHA-256 of every file.

The data are the release authors' and under their terms; to use the body parameters, get SMPL-X under its licence.
"""
