"""What a copy of the release has: its split, the sequences of it on disk, and what is not as published."""

from collections.abc import Collection
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wildhoi.convert.behave_release.facts import Sequence, first_part, load_facts, parse_sequence
from wildhoi.convert.behave_release.rows import sequence_folders, track_folders
from wildhoi.dataset.folder import SPLITS
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import read_json
from wildhoi.objects import find_category, load_categories
from wildhoi.schema import GENDERS

GIVE = "give the folder that holds BEHAVE's split.json, sequences/, objects/ and calibs/"
MAX_SEQUENCES = 10_000
SHOWN = 10


@dataclass
class Survey:
    """The sequences to convert by split, the whole split as it is published, and remarks."""

    split: dict[str, list[str]]
    chosen: dict[str, list[Sequence]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def sequences(self) -> list[Sequence]:
        """All sequences to convert."""
        return [sequence for found in self.chosen.values() for sequence in found]


def survey_release(raw: Path, objects: Several[str] | None, splits: Several[str]) -> Survey:
    """Find the sequences of the splits that are on disk.

    Args:
        raw: the release's folder.
        objects: names of the table, or None for all.
        splits: train, test, or both.

    Raises:
        MissingAssetError: the folder is not the release, or has no sequence of these splits and objects.
        InputError: `split.json` is damaged, or an object or a split is unknown.
    """
    _check_names(objects, splits)
    for name in ("split.json", "sequences", "calibs", "objects"):
        if not (raw / name).exists():
            raise MissingAssetError(f"{raw}: is not the BEHAVE release, it has no {name}; {GIVE}")
    survey = Survey(_read_split(raw / "split.json"))
    known = {name for name, category in load_categories().items() if category.behave is not None}
    for split in splits:
        survey.chosen[split] = _choose(raw, split, set(objects) if objects is not None else known, known, survey)
    if not survey.sequences:
        what = f" of {', '.join(objects)}" if objects is not None else ""
        raise MissingAssetError(f"{raw / 'sequences'}: has no sequence{what} of split {', '.join(splits)}; {GIVE}")
    _note_strangers(raw, survey)
    _note_published(survey)
    return survey


def read_info(raw: Path, sequence: Sequence, survey: Survey) -> tuple[str, tuple[int, ...]]:
    """The gender of a sequence's person, and its cameras; what `info.json` does not tell is known by subject."""
    facts = load_facts()
    content: Any = {}
    folder = next(iter(sequence_folders(raw, sequence)), None)
    if folder is not None and (folder / "info.json").is_file():
        try:
            content = read_json(folder / "info.json", 2**20)
        except InputError:
            survey.notes.append(f"{sequence.name}: info.json cannot be read, gender and cameras are the usual ones")
    content = content if isinstance(content, dict) else {}
    gender = content.get("gender")
    if gender not in GENDERS:
        gender = facts["genders"].get(sequence.subject, "neutral")
    listed = content.get("kinects")
    every = tuple(range(facts["kinects"]))
    if isinstance(listed, list) and listed and all(type(camera) is int and camera in every for camera in listed):
        return gender, tuple(sorted(set(listed)))
    unlisted = bool(content) and not listed
    return gender, every[: facts["kinects_unlisted"]] if unlisted else every


def listing(names: Collection[str]) -> str:
    """The first few names of many."""
    shown = sorted(names)[:SHOWN]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _check_names(objects: Several[str] | None, splits: Several[str]) -> None:
    wrong = [split for split in splits if split not in SPLITS]
    if wrong or not splits:
        raise InputError(f"split {', '.join(map(repr, wrong)) or 'of no name'}: want {' or '.join(SPLITS)}")
    for name in objects or ():
        category = find_category(name)
        if category.behave is None:
            raise InputError(f"object {name!r} is not in BEHAVE, it belongs to {', '.join(category.datasets)}")


def _read_split(path: Path) -> dict[str, list[str]]:
    content = read_json(path)
    wanted = 'want {"train": ["Date01_Sub01_object", ...], "test": [...]}'
    if not isinstance(content, dict) or not all(isinstance(content.get(split), list) for split in SPLITS):
        raise InputError(f"{path}: {wanted}")
    names = [name for split in SPLITS for name in content[split]]
    if len(names) > MAX_SEQUENCES or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: {wanted}")
    both = set(content["train"]) & set(content["test"])
    if both:
        raise InputError(f"{path}: {listing(both)} in train and in test; {wanted}")
    return {split: sorted(set(content[split])) for split in SPLITS}


def _choose(raw: Path, split: str, wanted: set[str], known: set[str], survey: Survey) -> list[Sequence]:
    """The sequences of a split that can be converted; notes the others."""
    chosen, absent, strange = [], [], []
    for name in survey.split[split]:
        try:
            sequence = parse_sequence(name)
        except InputError:
            strange.append(name[:80])
            continue
        if sequence.object not in known:
            strange.append(name)
        elif sequence.object in wanted and (sequence_folders(raw, sequence) or track_folders(raw, sequence)):
            chosen.append(sequence)
        elif sequence.object in wanted:
            absent.append(name)
    survey.notes.append(f"{split}: {len(chosen)} of the {len(survey.split[split])} sequences of the split")
    if absent:
        survey.notes.append(f"{split}: {len(absent)} sequences of the split are not on disk: {listing(absent)}")
    if strange:
        survey.notes.append(f"{split}: {len(strange)} names of the split are of no known object: {listing(strange)}")
    return chosen


def _note_strangers(raw: Path, survey: Survey) -> None:
    """Note the sequences on disk that no split names."""
    named = {name for names in survey.split.values() for name in names}
    there = [path.name for path in (raw / "sequences").iterdir() if path.is_dir() and not path.name.startswith(".")]
    strangers = [name for name in there if first_part(name) not in named]
    if strangers:
        survey.notes.append(f"{len(strangers)} sequences on disk are in no split: {listing(strangers)}")


def _note_published(survey: Survey) -> None:
    """Compare the lengths of the split with the published ones."""
    counts = {split: len(names) for split, names in survey.split.items()}
    published = load_facts()["published"]
    told = " and ".join(f"{count} {split}" for split, count in counts.items())
    for source, what in (("sequences", "the release's own split"), ("paper_sequences", "the split that papers count")):
        if counts == published[source]:
            survey.notes.append(f"split.json has {told} sequences, as {what}")
            return
    wanted = " or ".join(" + ".join(str(n) for n in counted.values()) for counted in published.values())
    survey.notes.append(f"split.json has {told} sequences, published are {wanted}")
