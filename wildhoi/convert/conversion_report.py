"""What a conversion did and found: for the eyes, and as `conversion_report.json` of the data folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from wildhoi.convert.parts import Found
from wildhoi.convert.template_report import TemplateReport
from wildhoi.dataset.folder import SPLITS

SHOWN = 8  # ids of a line


@dataclass
class Counted:
    """What was written of an object and split."""

    rows: int = 0
    videos: list[str] = field(default_factory=list)


@dataclass
class ObjectReport:
    """One object: what was written, what was left out or lacks something and why, and how well its template fits.

    `samples`, `annotations` and `layouts` are by split, `columns` are those of samples that have any value, `dropped`
    and `incomplete` list the images of every reason, `redrawn` the scenes, once for each time.
    """

    template: TemplateReport
    samples: dict[str, Counted] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    annotations: dict[str, Counted] = field(default_factory=dict)
    dropped: Found = field(default_factory=dict)
    incomplete: Found = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rotation_error: float = 0.0
    layouts: dict[str, Counted] = field(default_factory=dict)
    redrawn: Found = field(default_factory=dict)

    def count(self, kind: str, split: str, notes: Mapping[str, Any]) -> None:
        """Take in what a finished list of rows says: its rows, its videos, what is irregular."""
        tables = {"samples": self.samples, "annotations": self.annotations, "layouts": self.layouts}
        tables[kind][split] = Counted(notes["rows"], [*notes["videos"]])
        if kind == "samples":
            self.columns = sorted({*self.columns, *notes["filled"]})
        for found, more in ((self.dropped, notes.get("dropped", {})), (self.incomplete, notes.get("incomplete", {}))):
            for reason, images in more.items():
                found[reason] = list(dict.fromkeys([*found.get(reason, ()), *images]))
        for reason, scenes in notes.get("redrawn", {}).items():
            self.redrawn[reason] = [*self.redrawn.get(reason, ()), *scenes]

    def drop(self, image_id: str, reason: str) -> None:
        """Note that an image is left out."""
        self.dropped.setdefault(reason, []).append(image_id)

    def remark(self, what: str, items: Sequence[str]) -> None:
        """Note something about some images or files, if there are any."""
        if items:
            more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
            self.notes.append(f"{what}: {', '.join(items[:SHOWN])}{more}")

    def rows(self, kind: str, split: str) -> int:
        """How many samples, annotations or layouts of a split were written."""
        counted: Counted = getattr(self, kind).get(split, Counted())
        return counted.rows

    @property
    def fit(self) -> str:
        """Whether the template is as the table of categories knows it."""
        return "differs" if self.template.notes else "as known"

    def totals(self) -> tuple[int, ...]:
        """Samples by split, videos, annotations, images left out and images that lack something."""
        samples = (self.rows("samples", split) for split in SPLITS)
        videos = sum(self.videos(split) for split in SPLITS)
        truth = sum(self.rows("annotations", split) for split in SPLITS)
        odd = (
            len({image for images in found.values() for image in images}) for found in (self.dropped, self.incomplete)
        )
        return (*samples, videos, truth, *odd)

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
        """How many samples, annotations or layouts of a split were written, over all objects."""
        return sum(entry.rows(kind, split) for entry in self.objects.values())

    def reasons(self, fate: str) -> dict[str, int]:
        """How many images each reason has, over all objects, the most frequent first.

        Args:
            fate: `dropped`, `incomplete` or `redrawn`.
        """
        totals: dict[str, int] = {}
        for entry in self.objects.values():
            for reason, images in getattr(entry, fate).items():
                totals[reason] = totals.get(reason, 0) + len(images)
        return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        content = asdict(self)
        for entry in content["objects"].values():
            for rare in [name for name in ("layouts", "redrawn") if not entry[name]]:
                del entry[rare]  # releases have neither
        return content

    def to_json(self) -> str:
        """The report as the data folder keeps it: without the revision, which is made from the folder's files."""
        content = self.to_dict()
        del content["revision"]
        return json.dumps(content, indent=1, sort_keys=True) + "\n"

    def to_rich(self) -> Any:
        """The report for the eyes: a table of the objects, totals of what is irregular, then every remark."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        views = any(entry.layouts for entry in self.objects.values())
        heads = (*SPLITS, "videos", "truth", "left out", "lacking", *(("layouts",) if views else ()))
        table = Table("object", *heads, "template", box=None, pad_edge=False)
        for column in table.columns[1:-1]:
            column.justify = "right"
        for name, entry in self.objects.items():
            more = (sum(entry.rows("layouts", split) for split in SPLITS),) if views else ()
            table.add_row(name, *(f"{number:,}" for number in (*entry.totals(), *more)), entry.fit)
        lines = [
            f"{title} {number:,}: {reason}"
            for fate, title in (("dropped", "left out"), ("incomplete", "kept without"), ("redrawn", "drawn again"))
            for reason, number in self.reasons(fate).items()
        ]
        notes = [Padding(Text(note), (0, 0, 0, 2), expand=False) for note in (*lines, *self.all_notes())]
        return Group(table, Text(), *notes)

    def to_text(self) -> str:
        """The same as plain text, 120 columns wide."""
        from io import StringIO

        from rich.console import Console

        stream = StringIO()
        Console(file=stream, width=120, color_system=None).print(self.to_rich())
        return stream.getvalue()

    def all_notes(self) -> list[str]:
        """Every remark, those about one object with its name."""
        per_object = [
            f"{name}: {note}" for name, entry in self.objects.items() for note in (*entry.template.notes, *entry.notes)
        ]
        return [*self.notes, *per_object]
