"""What flow priors are trained on in tests: examples whose density is known, and small data folders written by hand."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from scenes import template
from scipy.spatial.transform import Rotation

import submissions
from baselines.encoders import EncoderConfig
from baselines.flow import FlowConfig
from baselines.prior import Prior, PriorConfig
from baselines.prior_files import read_prior
from baselines.training.diary import Diary
from baselines.training.examples import Examples, Pool
from baselines.training.loop import Trainer
from baselines.training.options import TrainOptions, train_options
from wildhoi.dataset import DataFolder, seal_folder, write_annotations, write_layouts
from wildhoi.dataset.samples import write_samples
from wildhoi.objects import find_category
from wildhoi.schema import Annotation, Camera, ObjectPose, Sample, SceneView
from wildhoi.templates import find_template, load_template
from wildhoi.training import train_flow_prior
from wildhoi.training.reading import read_examples

HERE = Path(__file__).parent
THING = "basketball"
KEYPOINTS = 23
DIMENSION = 3 * KEYPOINTS
SIDE = 16
QUICK = {"epochs": 2, "batch": 8, "draws": 2, "k": 3, "size": SIDE, "context": 4, "pictures_every": 0}
TWO = ("skateboard", "basketball")
SPREAD, CODE = 0.1, 4
"""Metres about the mean that a picture tells; and how many numbers it tells."""
FLOW = FlowConfig(depth=2, width=24, blocks=1, shift=16)
ENCODER = EncoderConfig("small", size=SIDE, context=8)
NONE = EncoderConfig("none", size=SIDE)
BODY_VERTICES = 10_475
TABLE = "train-00000-of-00001.parquet"


class Stop(Exception):
    """What interrupts a training."""


class Crash(BaseException):
    """What ends a process, as far as a test can tell."""


@dataclass
class _Crashing:
    """Watches the changes of files below a folder, for good: such hooks cannot be taken back."""

    folder: Path | None = None
    left: int = 0
    hooked: bool = field(default=False, repr=False)

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.folder is None or not arguments or not isinstance(arguments[0], str | os.PathLike):
            return
        writes = event == "open" and isinstance(arguments[1], str) and set("wax") & set(arguments[1])
        if (writes or event in CHANGES) and str(arguments[0]).startswith(str(self.folder)):
            self.left -= 1
            if self.left <= 0:
                raise Crash


CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
_crashing = _Crashing()


@contextmanager
def crash_at(number: int, folder: Path) -> Iterator[None]:
    """End what runs within at the so many-th change of a file in the folder; from then on nothing there changes."""
    if not _crashing.hooked:
        _crashing.hooked = True
        sys.addaudithook(_crashing)
    _crashing.folder, _crashing.left = folder, number
    try:
        yield
    finally:
        _crashing.folder = None


# Examples of a known density


def means(codes):
    """The mean of the coordinates of each code, in -1 to 1."""
    mixing = torch.randn(CODE, DIMENSION, generator=torch.Generator().manual_seed(5))
    return 0.5 * codes @ mixing


def told(codes):
    """Pictures that tell codes: the brightness of four quarters."""
    quarters = (127 + 120 * codes).round().to(torch.uint8).view(-1, 1, 2, 2)
    return quarters.repeat_interleave(SIDE // 2, 2).repeat_interleave(SIDE // 2, 3).expand(-1, 5, -1, -1).contiguous()


def gaussian_examples(images=96, further=2, share=0.25, seed=0):
    """Images whose views are normal about what their pictures tell, `further` views each besides their own."""
    generator = torch.Generator().manual_seed(seed)
    codes = 2 * torch.rand(images, CODE, generator=generator) - 1
    centres = means(codes)[:, None].expand(-1, 1 + further, -1)
    views = centres + SPREAD * torch.randn(centres.shape, generator=generator)
    members = torch.arange(images * (1 + further)).view(images, -1)
    held_out = torch.arange(images) < share * images
    return Examples(
        tuple(f"image-{row:04}" for row in range(images)),
        Pool(views.flatten(0, 1), None),
        members,
        torch.ones(members.shape),
        told(codes),
        held_out,
    )


def best_density(noise):
    """The expected log-density of such views with noise under their own distribution, nats per dimension."""
    return float(-0.5 * (1 + np.log(2 * np.pi * (SPREAD**2 + noise**2))))


def tiny_options(**changes):
    """A training of a second."""
    first = TrainOptions(
        FLOW, ENCODER, "none", "3d", epochs=4, batch=32, draws=2, lr=3e-3, final_lr=0.1, noise=0.05, pictures_every=0
    )
    return replace(first, **changes)


def tiny_trainer(folder, examples=None, options=None, *, watch=None, config=None, accelerator=None, architecture=None):
    """A training of a prior of points that writes to a folder."""
    from accelerate import Accelerator

    options = options or tiny_options()
    torch.manual_seed(options.seed)
    config = config or PriorConfig(
        THING, KEYPOINTS, options.supervision, options.space, options.noise, options.camera_noise, options.flow,
        options.encoder,
    )  # fmt: skip
    diary = Diary(folder, template(THING), {"told": 1}, None, "x", options.half)
    examples = examples or gaussian_examples()
    prior = Prior(config, architecture)
    return Trainer(prior, examples, options, accelerator or Accelerator(cpu=True), diary, watch)


def stop_after(epochs):
    """A watch that interrupts a training after so many epochs."""

    def watch(done, total, numbers):
        if done == epochs:
            raise Stop

    return watch


@contextmanager
def interrupted_after(epochs: int) -> Iterator[None]:
    """Interrupt trainings after so many epochs, in every process."""
    epoch = Trainer._epoch

    def counted(trainer):
        if trainer.standing.epoch == epochs:
            raise Stop
        epoch(trainer)

    Trainer._epoch = counted
    try:
        yield
    finally:
        Trainer._epoch = epoch


def same_weights(one: Prior, other: Prior):
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# Data folders


@dataclass(frozen=True)
class Made:
    """A scene of a made-up data set: keypoints in space (metres, SMPL frame) and the cameras that see it."""

    name: str
    points: np.ndarray
    cameras: tuple[Camera, ...]


def made_camera(random, points):
    """A camera some metres away that has the person in the middle of a picture of 640 x 480."""
    yaw = random.uniform(-np.pi, np.pi)
    turn = Rotation.from_euler("yx", [yaw, np.pi]).as_matrix().T
    return Camera(turn, np.array([0.0, 0.0, random.uniform(6, 9)]), np.array([900.0, 900.0]), np.array([320.0, 240.0]))


def pixels(points, camera):
    seen = points @ camera.rotation.T + camera.translation
    return seen[:, :2] / seen[:, 2:] * camera.focal + camera.principal_point


def made_scenes(count, name=THING, further=3, seed=0):
    """Scenes of a person and an object whose place varies."""
    random = np.random.default_rng(seed)
    k = len(find_category(name).keypoints)
    body = 0.4 * random.standard_normal((22, 3))
    body[0] = 0
    thing = 0.2 * random.standard_normal((k, 3)) + [0.4, 0.2, 0.4]
    scenes = []
    for number in range(count):
        points = np.concatenate([body, thing + random.normal(0, 0.2, 3)]) + 0.02 * random.standard_normal((22 + k, 3))
        points[0] = 0
        cameras = tuple(made_camera(random, points) for _ in range(1 + further))
        scenes.append(Made(f"{name}_{number:04}", points, cameras))
    return scenes


def made_sample(made, name, **changes):
    """What is known of the scene's image: a picture that is darker, the further the object is, and keypoints."""
    camera = made.cameras[0]
    seen = pixels(made.points, camera)
    centre = made.points[22:].mean(0)
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :32], picture[:, 32:] = np.clip(128 + 150 * centre, 0, 255), np.clip(128 - 150 * centre, 0, 255)
    mask = np.zeros((20, 20), bool)
    mask[4:14] = True
    sample = Sample(
        made.name, name, made.name, image=picture, image_box=(290, 210, 64, 48), frame_size=(640, 480),
        person_box=np.array([300.0, 215, 330, 250]), object_box=np.array([310.0, 220, 345, 255]), person_mask=mask,
        person_mask_box=(300, 215, 20, 20), object_mask=mask, object_mask_box=(320, 220, 20, 20), camera=camera,
        focal=camera.focal, principal_point=camera.principal_point, body_keypoints=seen[:22],
        object_keypoints=seen[22:],
    )  # fmt: skip
    return replace(sample, **changes)


def made_truth(made, name, number, scene=None):
    pose = ObjectPose(submissions.rotation(number), made.points[22:].mean(0))
    return Annotation(
        made.name, name, made.name, submissions.human(number), pose, made.cameras[0],
        scene_id=scene or f"scene-{made.name}", interaction="carried",
    )  # fmt: skip


def further_views(made, name):
    seen = [pixels(made.points, camera) for camera in made.cameras[1:]]
    return [
        SceneView(f"scene-{made.name}", name, number, camera, places[:22], places[22:])
        for number, (camera, places) in enumerate(zip(made.cameras[1:], seen, strict=True))
    ]


def write_made(
    folder: Path,
    names=(THING,),
    count=24,
    *,
    further=3,
    annotated=True,
    change=None,
    change_of=None,
    seed=0,
    scene_of=None,
) -> DataFolder:
    """A data folder of made-up scenes; samples are changed by number and by object."""
    for name in names:
        scenes = made_scenes(count, name, further, seed)
        changes = change_of(name) if change_of else {}
        samples = [made_sample(made, name, **changes, **(change(n) if change else {})) for n, made in enumerate(scenes)]
        write_samples(folder / "samples" / name / TABLE, samples)
        if annotated:
            truths = [made_truth(made, name, n, scene_of and scene_of(n)) for n, made in enumerate(scenes)]
            write_annotations(folder / "annotations" / name / TABLE, truths)
        if annotated and further:
            write_layouts(folder / "layouts" / name / TABLE, [v for made in scenes for v in further_views(made, name)])
    return seal_folder(folder, name="made-up", body_model="open")


def write_means(path: Path, name=THING, vertices=None):
    """A file of mean occlusion maps that suits the open body and the template of an object."""
    thing = load_template(find_template(path.parent, name, shipped=True))
    human, there = np.zeros(BODY_VERTICES), np.zeros(vertices or len(thing.vertices))
    human[:50], there[:50] = 0.5, 0.25
    np.savez(path, human=human, object=there)
    return path


# What a training leaves behind


def strict_json(text):
    def refuse(word):
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


def lines_of(folder):
    return [strict_json(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def without_times(lines):
    return [{name: line[name] for name in ("epoch", "loss", "held_out", "lr", "views")} for line in lines]


def stored(folder):
    return read_prior(folder, template(THING)).prior


def trained(made, out, name=TWO[0], resume=False, **options):
    data, means = made
    given = {**QUICK, "contact": means} | options
    return train_flow_prior(data, name, out, given, device="cpu", resume=resume)


def refused(error, *words):
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "\n" not in text and len(text) < 500


def mean_density(prior, examples, noise, rows=None, pictures=None, turns=20):
    """The mean log-density of images' own views, one image at a time, over many draws of the noise."""
    prior.eval()
    generator = torch.Generator().manual_seed(77)
    found = []
    for image in examples.watched.tolist() if rows is None else rows:
        own = examples.pool.coordinates[examples.members[image, 0]].expand(turns, -1)
        shown = (examples.pictures if pictures is None else pictures)[image : image + 1]
        with torch.no_grad():
            context = prior.context(shown).expand(turns, -1)
            noisy = own + noise * torch.randn(own.shape, generator=generator)
            found.append(float(prior.log_density(noisy, context).mean()))
    return float(np.mean(found))


def read(made, tmp_path, name=TWO[0], **options):
    chosen = train_options("small", {**QUICK, **options})
    return read_examples(made[0], name, tmp_path, chosen, device="cpu", tell=lambda *_: None)


def program(*words, timeout=300, path=HERE):
    environment = os.environ | {"PYTHONPATH": f"{HERE.parent}:{HERE}:{path}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
