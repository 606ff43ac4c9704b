"""The plan of a conversion of the WildHOI release: which videos, which frames, what is written beside them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from wildhoi.convert.conversion_report import ConversionReport, ObjectReport
from wildhoi.convert.parts import Part
from wildhoi.convert.pipeline import Conversion
from wildhoi.convert.wildhoi_release.annotations import annotated_ids, convert_truth
from wildhoi.convert.wildhoi_release.published import compare
from wildhoi.convert.wildhoi_release.samples import FRAMES_PER_SECOND, VideoSpec, read_video
from wildhoi.convert.wildhoi_release.templates import require_release
from wildhoi.convert.wildhoi_release.tracks import SAFE_ID
from wildhoi.dataset.folder import SPLITS
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import read_json
from wildhoi.objects import Category, find_category, load_categories

NAME = "wildhoi"
SPLIT_FILE = "train_test_split.json"
GIVE = "give the release's unpacked folder, or --data with its data/ folder"
RATES = [rate for rate in range(1, FRAMES_PER_SECOND + 1) if FRAMES_PER_SECOND % rate == 0]
LISTED = {"train": "train_videos", "test": "test_videos"}

Split = Mapping[str, Mapping[str, Any]]


def plan_wildhoi(
    raw: Path,
    data: Path | None = None,
    *,
    objects: Sequence[str] | None = None,
    splits: Sequence[str] = SPLITS,
    fps: int = 3,
    pictures: bool = True,
) -> Conversion:
    """Plan the conversion of the authors' WildHOI release.

    Args:
        raw: the release's unpacked folder, with `train_test_split.json` and a folder for each object.
        data: its data folder, with `annotation_hoi/`, `objects/` and `contact/`; default `raw/data`.
        objects: names; default all that are there.
        splits: of the samples; the truth of the test split and the templates are converted in any case.
        fps: training frames taken of each second, a divisor of 30.
        pictures: whether samples are converted at all, or truth and templates alone.

    Raises:
        InputError: an unknown object or split, a frame rate that does not fit, a damaged split file.
        MissingAssetError: the folder is no WildHOI release, or lacks an object.
    """
    data = raw / "data" if data is None else data
    wrong = sorted(set(splits) - set(SPLITS))
    if wrong or not splits:
        raise InputError(f"--splits: got {', '.join(wrong) or 'none'}, want some of {', '.join(SPLITS)}")
    if fps not in RATES:
        raise InputError(f"--fps: got {fps}, want {', '.join(map(str, RATES))}: a divisor of the videos' frame rate")
    categories = _choose(raw, data, objects, pictures)
    split, notes = _read_split(raw / SPLIT_FILE)
    parts = [part for category in categories for part in _parts(raw, data, category, split, splits, fps, notes)]
    names = [category.name for category in categories]
    where = {"raw": str(raw.resolve()), "data": str(data.resolve())}
    settings = {**where, "objects": names, "splits": sorted(splits), "fps": fps, "pictures": pictures}

    def prepare(out: Path) -> Mapping[str, ObjectReport]:
        return convert_truth(categories, data, split, out)

    def remarks(report: ConversionReport) -> list[str]:
        return [*notes, *compare(report)]

    return Conversion(NAME, "smplx", None, settings, parts if pictures else [], prepare, remarks)


def _choose(raw: Path, data: Path, objects: Sequence[str] | None, pictures: bool) -> list[Category]:
    """The categories to convert: those named, else those of the table that the release has."""
    nowhere = next((place for place in (raw, data) if not place.is_dir()), None)
    if nowhere is not None:
        what = "is a file; unpack the release" if nowhere.is_file() else "does not exist"
        raise MissingAssetError(f"{nowhere}: {what}, so no release is found; {GIVE}")
    wanted = [find_category(name) for name in (objects if objects is not None else load_categories())]
    if objects is not None:
        for category in wanted:
            require_release(category)
    there = [c for c in load_categories().values() if c.wildhoi is not None and _has(raw, data, c.name, pictures)]
    if not there:
        wants = "OBJ/hoi_tracking or data/annotation_hoi/OBJ/test" if pictures else "data/annotation_hoi/OBJ/test"
        raise MissingAssetError(f"{raw}: no WildHOI release: holds no {wants} folder of a known object; {GIVE}")
    absent = [c.name for c in wanted if c not in there] if objects is not None else []
    if absent:
        raise MissingAssetError(f"{raw}: has no {', '.join(absent)}, has {', '.join(c.name for c in there)}; {GIVE}")
    return [category for category in wanted if category in there]


def _has(raw: Path, data: Path, name: str, pictures: bool) -> bool:
    truth = (data / "annotation_hoi" / name / "test").is_dir()
    return truth or (pictures and (raw / name / "hoi_tracking").is_dir())


def _read_split(path: Path) -> tuple[Split, list[str]]:
    """The videos of each object's splits; empty, with a note, where the file is absent."""
    if not path.is_file():
        note = f"{path.name} is absent: no training videos are known, test videos are those of the annotated images"
        return {}, [note]
    split = read_json(path)
    if not isinstance(split, dict) or not all(isinstance(entry, dict) for entry in split.values()):
        raise InputError(f'{path}: want {{"OBJ": {{"train_videos": [...], "test_videos": [...]}}, ...}}')
    for name, entry in split.items():
        for key in LISTED.values():
            listed = entry.get(key, [])
            if not isinstance(listed, list) or not all(isinstance(v, str) and SAFE_ID.fullmatch(v) for v in listed):
                raise InputError(f"{path}: {name}.{key}: want a list of video numbers as text, such as 0012")
    return split, []


def _parts(
    raw: Path, data: Path, category: Category, split: Split, splits: Sequence[str], fps: int, notes: list[str]
) -> list[Part]:
    """One part for each video of an object; of test videos only the annotated images are wanted."""
    listed = split.get(category.name, {})
    make = partial(VideoSpec, raw / category.name, category.name, n_keypoints=len(category.keypoints))
    parts: list[Part] = []
    annotated = annotated_ids(data, category.name)
    if "train" in splits:
        trained = set(listed.get("train_videos", []))
        scored = trained & ({*listed.get("test_videos", [])} | {i.split("_")[0] for i in annotated})
        if scored:
            notes.append(f"{category.name}: not trained on, because test videos too: {', '.join(sorted(scored))}")
        for video in sorted(trained - scored):
            spec = make(video, step=FRAMES_PER_SECOND // fps)
            parts.append(Part("samples", category.name, "train", f"{video}.parquet", read_video, spec))
    if "test" in splits:
        images: dict[str, list[str]] = {}
        for image_id in annotated:
            images.setdefault(image_id.split("_")[0], []).append(image_id)
        for video, ids in sorted(images.items()):
            spec = make(video, images=tuple(ids))
            parts.append(Part("samples", category.name, "test", f"{video}.parquet", read_video, spec))
    tracked = {path.name.split("_")[0] for path in (raw / category.name / "hoi_tracking").glob("*_tracking.pkl")}
    strangers = sorted(tracked - {video for key in LISTED.values() for video in listed.get(key, [])})
    if listed and strangers:
        notes.append(f"{category.name}: tracked, but in no split: {', '.join(strangers)}")
    return parts
