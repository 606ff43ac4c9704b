"""What a conversion did and found: for the eyes, and as `conversion_report.json` of the data folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from wildhoi.convert.template_report import TemplateReport
from wildhoi.dataset.folder import SPLITS

SHOWN = 8  # ids of a line

Found = dict[str, list[str]]


@dataclass
class Counted:
    """What was written of an object and split."""

    rows: int = 0
    videos: list[str] = field(default_factory=list)


@dataclass
class ObjectReport:
    """One object: what was written, what was left out or lacks something and why, and how well its template fits.

    `samples` and `annotations` are by split, `dropped` and `incomplete` list the images of every reason.
    """

    template: TemplateReport
    samples: dict[str, Counted] = field(default_factory=dict)
    annotations: dict[str, Counted] = field(default_factory=dict)
    dropped: Found = field(default_factory=dict)
    incomplete: Found = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rotation_error: float = 0.0

    def count(self, kind: str, split: str, notes: Mapping[str, Any]) -> None:
        """Take in what a finished list of rows says: its rows, its videos, what is irregular."""
        {"samples": self.samples, "annotations": self.annotations}[kind][split] = Counted(
            notes["rows"], [*notes["videos"]]
        )
        for found, more in ((self.dropped, notes.get("dropped", {})), (self.incomplete, notes.get("incomplete", {}))):
            for reason, images in more.items():
                found[reason] = list(dict.fromkeys([*found.get(reason, ()), *images]))

    def drop(self, image_id: str, reason: str) -> None:
        """Note that an image is left out."""
        self.dropped.setdefault(reason, []).append(image_id)

    def remark(self, what: str, items: Sequence[str]) -> None:
        """Note something about some images or files, if there are any."""
        if items:
            more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
            self.notes.append(f"{what}: {', '.join(items[:SHOWN])}{more}")

    def rows(self, kind: str, split: str) -> int:
        """How many samples or annotations of a split were written."""
        counted: Counted = getattr(self, kind).get(split, Counted())
        return counted.rows

    def videos(self, split: str) -> int:
        """How many videos a split has, in samples or annotations."""
        found = [counts[split].videos for counts in (self.samples, self.annotations) if split in counts]
        return len({video for videos in found for video in videos})


@dataclass
class ConversionReport:
    """A whole conversion; `revision` names the content that was written."""

    objects: dict[str, ObjectReport] = field(default_factory=dict)
    track: str | None = None
    notes: list[str] = field(default_factory=list)
    revision: str = ""

    def rows(self, kind: str, split: str) -> int:
        """How many samples or annotations of a split were written, over all objects."""
        return sum(entry.rows(kind, split) for entry in self.objects.values())

    def reasons(self, fate: str) -> dict[str, int]:
        """How many images each reason has, over all objects, the most frequent first; `dropped` or `incomplete`."""
        totals: dict[str, int] = {}
        for entry in self.objects.values():
            for reason, images in getattr(entry, fate).items():
                totals[reason] = totals.get(reason, 0) + len(images)
        return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)

    def to_json(self) -> str:
        """The report as the data folder keeps it: without the revision, which is made from the folder's files."""
        content = self.to_dict()
        del content["revision"]
        return json.dumps(content, indent=1, sort_keys=True) + "\n"

    def to_text(self) -> str:
        """The report for the eyes: a table of the objects, totals of what is irregular, then every remark."""
        head = (
            f"{'object':<18}{'train':>8}{'videos':>8}{'test':>8}{'videos':>8}{'truth':>8}{'dropped':>9}{'lacking':>9}"
        )
        lines = [head + "  template"]
        for name, entry in self.objects.items():
            counts = "".join(f"{entry.rows('samples', split):>8}{entry.videos(split):>8}" for split in SPLITS)
            truth = sum(entry.rows("annotations", split) for split in SPLITS)
            odd = (sum(map(len, found.values())) for found in (entry.dropped, entry.incomplete))
            odd_text = "".join(f"{number:>9}" for number in odd)
            lines.append(f"{name:<18}{counts}{truth:>8}{odd_text}  {'differs' if entry.template.notes else 'as known'}")
        for fate, title in (("dropped", "left out"), ("incomplete", "kept without")):
            lines += [f"{title}: {number:>6}  {reason}" for reason, number in self.reasons(fate).items()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.all_notes())])

    def all_notes(self) -> list[str]:
        """Every remark, those about one object with its name."""
        per_object = [
            f"{name}: {note}" for name, entry in self.objects.items() for note in (*entry.template.notes, *entry.notes)
        ]
        return [*self.notes, *per_object]
