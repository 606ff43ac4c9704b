"""The plan of a conversion of BEHAVE: which sequences, frames, fits and estimates become which parts."""

import json
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence as Several
from pathlib import Path
from typing import Any

from wildhoi.convert.behave_release.calibration import read_kinect
from wildhoi.convert.behave_release.facts import Sequence
from wildhoi.convert.behave_release.initial import FileFacts, check_files, find_files
from wildhoi.convert.behave_release.keyframes import KeyFrame, read_key_frames
from wildhoi.convert.behave_release.rows import SequenceSpec, read_annotations
from wildhoi.convert.behave_release.samples import GIVEN, NO_ESTIMATE, RENDERED, read_samples
from wildhoi.convert.behave_release.survey import Survey, listing, read_info, survey_release
from wildhoi.convert.behave_release.templates import convert_scan, find_scan
from wildhoi.convert.conversion_report import ConversionReport, ObjectReport
from wildhoi.convert.parts import Part
from wildhoi.convert.pipeline import Conversion
from wildhoi.convert.smplh import pelvis
from wildhoi.dataset.folder import SPLITS
from wildhoi.errors import InputError
from wildhoi.files import canonical_json, sha256_file, sha256_text, write_text
from wildhoi.objects import BehaveFacts, find_category
from wildhoi.schema import N_BETAS

FRAMES, THIRTY_FPS = "frames", "30fps"

KeyFrames = Mapping[str, tuple[tuple[str, int], ...]] | None


def plan_behave(
    raw: Path,
    *,
    fits: str | None = None,
    keyframes: Path | None = None,
    init: Path | None = None,
    objects: Several[str] | None = None,
    splits: Several[str] = SPLITS,
) -> Conversion:
    """Plan the conversion of the BEHAVE release; reads what is small, and converts nothing.

    Args:
        raw: the folder with split.json, sequences/, objects/ and calibs/.
        fits: "frames" for the pickles of each frame's folder, "30fps" for the arrays of whole sequences; by default
            "30fps" where key frames are given, else "frames".
        keyframes: a list of images, of which alone rows are made; .pkl, .json or .txt.
        init: a Parquet file of initial estimates, or a folder of such files.
        objects: only these; default all.
        splits: only these; default both.

    Raises:
        MissingAssetError: the folder is not the release, a calibration, a template or a body model is absent.
        InputError: `split.json`, a calibration, the list of key frames or the estimates are invalid.
    """
    raw = Path(raw)
    chosen = fits or (THIRTY_FPS if keyframes is not None else FRAMES)
    if chosen not in (FRAMES, THIRTY_FPS):
        raise InputError(f"fits {chosen!r}: want {FRAMES} or {THIRTY_FPS}")
    survey = survey_release(raw, objects, splits)
    listed = read_key_frames(keyframes) if keyframes is not None else None
    estimates = check_files(find_files(init)) if init is not None else {}
    planner = _Planner(raw, chosen, survey, _by_sequence(listed, survey), estimates)
    names = sorted({sequence.object for sequence in survey.sequences})
    parts = [part for split in splits for sequence in survey.chosen[split] for part in planner.parts(split, sequence)]

    def prepare(out: Path) -> Mapping[str, ObjectReport]:
        _write_lists(out / "lists", survey, listed)
        return {name: ObjectReport(_convert_template(raw, name, out)) for name in names}

    def remarks(report: ConversionReport) -> list[str]:
        return [*survey.notes, *_coverage_of(estimates, report)]

    settings = {
        "raw": str(raw.resolve()),
        "fits": chosen,
        "splits": list(splits),
        "sequences": sha256_text(canonical_json([sequence.name for sequence in survey.sequences])),
        "key_frames": sha256_file(keyframes) if keyframes is not None else None,
        "init": [sha256_file(path) for path in estimates],
    }
    given = sha256_text(canonical_json(settings["init"]))[:12] if estimates else None
    return Conversion("behave", "smplh", planner.track, settings, parts, prepare, remarks, given)


def _coverage_of(estimates: Mapping[Path, FileFacts], report: ConversionReport) -> list[str]:
    """How many rows of the initial estimates belong to an image that was converted."""
    if not estimates:
        return []
    rows = sum(report.rows("samples", split) for split in SPLITS)
    used = rows - report.reasons("incomplete").get(NO_ESTIMATE, 0)
    return [f"initial estimates: {used} of {sum(len(facts.images) for facts in estimates.values())} rows are used"]


class _Planner:
    """Makes the parts of sequences, and sees on the way that what they need is there."""

    def __init__(
        self, raw: Path, fits: str, survey: Survey, key_frames: KeyFrames, estimates: Mapping[Path, FileFacts]
    ) -> None:
        self.raw, self.fits, self.survey = raw, fits, survey
        self.key_frames, self.estimates = key_frames, estimates
        self.track = GIVEN if any(facts.objects for facts in estimates.values()) else RENDERED
        self._genders: set[str] = set()

    def parts(self, split: str, sequence: Sequence) -> list[Part]:
        """The two parts of a sequence: inputs and truth; none where no key frame is in it."""
        if self.key_frames is not None and sequence.name not in self.key_frames:
            return []
        spec = self._spec(sequence)
        return [
            Part("samples", sequence.object, split, sequence.name, read_samples, spec),
            Part("annotations", sequence.object, split, sequence.name, read_annotations, spec),
        ]

    def _spec(self, sequence: Sequence) -> SequenceSpec:
        gender, cameras = read_info(self.raw, sequence, self.survey)
        listed = None if self.key_frames is None else self.key_frames[sequence.name]
        for camera in cameras if listed is None else {camera for _, camera in listed}:
            read_kinect(self.raw, sequence.date, camera)  # says in time that a calibration is missing
        if gender not in self._genders:
            pelvis(gender, (0.0,) * N_BETAS)  # says in time that a body model is missing
            self._genders.add(gender)
        facts = _facts(sequence.object)
        begin = sequence.image_id("t0000.000", 0, whole_seconds=True)[: -len("000_0")]
        return SequenceSpec(
            raw=self.raw,
            sequence=sequence,
            gender=gender,
            cameras=cameras,
            fits=self.fits,
            object_names=tuple(name for name in (sequence.object, facts.alias) if name is not None),
            template=find_scan(self.raw, sequence.object, facts),
            track=self.track,
            has_estimates=bool(self.estimates),
            key_frames=listed,
            init=tuple(
                path for path, known in self.estimates.items() if any(name.startswith(begin) for name in known.images)
            ),
        )


def _facts(name: str) -> BehaveFacts:
    facts = find_category(name).behave
    if facts is None:
        raise InputError(f"object {name!r} is not in BEHAVE")
    return facts


def _convert_template(raw: Path, name: str, out: Path) -> Any:
    return convert_scan(raw, find_category(name), _facts(name), out / "objects" / name)


def _by_sequence(listed: list[KeyFrame] | None, survey: Survey) -> KeyFrames:
    """The key frames of each sequence; notes those of sequences that are not converted."""
    if listed is None:
        return None
    names = {sequence.name for sequence in survey.sequences}
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    lost = []
    for entry in listed:
        if entry.sequence in names:
            found[entry.sequence].append((entry.frame, entry.camera))
        else:
            lost.append(entry.image_id)
    if not found:
        raise InputError(f"no key frame is of a sequence that is converted; the list names {listing(lost)}")
    survey.notes.append(f"{len(listed)} key frames are listed" + (f", {len(lost)} not converted" if lost else ""))
    if lost:
        survey.notes.append(f"key frames of sequences that are not converted: {listing(lost)}")
    return {name: tuple(entries) for name, entries in found.items()}


def _write_lists(folder: Path, survey: Survey, listed: list[KeyFrame] | None) -> None:
    """Name what a score may be taken over: the split's sequences, and the images of the list of key frames."""
    write_text(folder / "split.json", json.dumps(survey.split, indent=1) + "\n")
    if listed is not None:
        write_text(folder / "keyframes.json", json.dumps(sorted(entry.image_id for entry in listed), indent=1) + "\n")
