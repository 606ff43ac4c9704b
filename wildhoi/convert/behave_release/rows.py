"""The rows of a sequence: its frames and cameras that have a fit and a picture, and their truth."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wildhoi.convert.behave_release.calibration import Kinect, read_kinect
from wildhoi.convert.behave_release.facts import FRAME, Sequence, load_facts
from wildhoi.convert.behave_release.fits import FindFit, FrameFit, frame_fits, track_fits
from wildhoi.convert.behave_release.pictures import color_file, visible_share
from wildhoi.convert.parts import Log
from wildhoi.schema import Annotation, Camera, ObjectPose


@dataclass(frozen=True)
class SequenceSpec:
    """What a part file is made from: a sequence, and which of its frames and fits to take.

    `object_names` are those that the folder of an object's fit can have, `template` its mesh. `key_frames` are (frame,
    camera); None takes every frame on disk. `init` are the files of initial estimates that know images of this
    sequence, out of those that the conversion was given, if it was (`has_estimates`).
    """

    raw: Path
    sequence: Sequence
    gender: str
    cameras: tuple[int, ...]
    fits: str
    object_names: tuple[str, ...]
    template: Path
    track: str
    has_estimates: bool = False
    key_frames: tuple[tuple[str, int], ...] | None = None
    init: tuple[Path, ...] = ()

    @property
    def whole_seconds(self) -> bool:
        """Whether frames are one second apart, which the image ids show."""
        return self.fits == "frames" and self.key_frames is None

    def image_id(self, frame: str, camera: int) -> str:
        """The id of an image of this sequence."""
        return self.sequence.image_id(frame, camera, whole_seconds=self.whole_seconds)


@dataclass(frozen=True, eq=False)
class Row:
    """One image: who it is, where its files are (None where the frame has no folder), and what is true of it."""

    image_id: str
    frame: str
    folder: Path | None
    number: int
    kinect: Kinect
    fit: FrameFit

    @property
    def camera(self) -> Camera:
        """The camera seen from the SMPL frame of the annotated body."""
        kinect = self.kinect
        return self.fit.body.camera(kinect.rotation, kinect.translation, kinect.focal, kinect.principal_point)

    @property
    def object_in_camera(self) -> ObjectPose:
        """The annotated object in the camera frame: `R = C^T Rot(angle)`, `t = C^T (trans - c)`."""
        inverse = self.kinect.rotation.T
        return ObjectPose(inverse @ self.fit.rotation, inverse @ (self.fit.translation - self.kinect.translation))


def read_rows(spec: SequenceSpec, log: Log) -> Iterator[Row]:
    """The rows of a sequence by time and camera; what is left out goes to the log."""
    find = _find_fit(spec)
    for frame, cameras in _frames(spec):
        folder = _frame_folder(spec, frame)
        fit = find(frame, folder)
        for camera in cameras:
            image_id = spec.image_id(frame, camera)
            if isinstance(fit, str):
                log.drop(image_id, fit)
            elif spec.key_frames is None and color_file(folder, camera) is None:
                log.drop(image_id, "no picture")
            else:
                kinect = read_kinect(spec.raw, spec.sequence.date, camera)
                yield Row(image_id, frame, folder, camera, kinect, fit)


def read_annotations(spec: SequenceSpec, log: Log) -> Iterator[Annotation]:
    """The truth of a sequence, in the SMPL frame of the annotated body."""
    for row in read_rows(spec, log):
        yield Annotation(
            image_id=row.image_id,
            object=spec.sequence.object,
            video_id=spec.sequence.name,
            human=row.fit.body.human,
            object_pose=row.fit.body.place(row.fit.rotation, row.fit.translation),
            camera=row.camera,
            gender=spec.gender,
            scene_id=f"{spec.sequence.name}/{row.frame}",
            visible=visible_share(row.folder, row.number, row.kinect.size),
        )


def sequence_folders(raw: Path, sequence: Sequence) -> list[Path]:
    """The folders of a sequence and its second parts that exist."""
    return [folder for name in sequence.parts if (folder := raw / "sequences" / name).is_dir()]


def track_folders(raw: Path, sequence: Sequence) -> list[Path]:
    """The folders with 30 fps fits of a sequence and its second parts that exist."""
    places = [raw / place for place in load_facts()["thirty_fps"]["folders"]]
    found = (next((p / name for p in places if _has_tracks(p / name)), None) for name in sequence.parts)
    return [folder for folder in found if folder is not None]


def _has_tracks(folder: Path) -> bool:
    facts = load_facts()["thirty_fps"]
    return any((folder / facts[who]).is_file() for who in ("person", "object"))


def _find_fit(spec: SequenceSpec) -> FindFit:
    if spec.fits == "frames":
        return frame_fits(spec.object_names, spec.gender)
    return track_fits(track_folders(spec.raw, spec.sequence), spec.gender)


def _frames(spec: SequenceSpec) -> list[tuple[str, tuple[int, ...]]]:
    """The frames to convert, by time, each with its cameras."""
    if spec.key_frames is not None:
        wanted: dict[str, set[int]] = {}
        for frame, camera in spec.key_frames:
            wanted.setdefault(frame, set()).add(camera)
        return [(frame, tuple(sorted(wanted[frame]))) for frame in sorted(wanted)]
    names = {
        entry.name
        for folder in sequence_folders(spec.raw, spec.sequence)
        for entry in folder.iterdir()
        if FRAME.fullmatch(entry.name) and entry.is_dir()
    }
    return [(name, spec.cameras) for name in sorted(names)]


def _frame_folder(spec: SequenceSpec, frame: str) -> Path | None:
    folders = [folder / frame for folder in sequence_folders(spec.raw, spec.sequence)]
    return next((folder for folder in folders if folder.is_dir()), None)
