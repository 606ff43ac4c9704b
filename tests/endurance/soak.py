"""Scoring over and over in one process, and what memory it holds after each round.

`python tests/endurance/soak.py FOLDER IMAGES ROUNDS` writes a folder of made-up submissions and prints the numbers.
"""

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from evaluation.evaluate import Options, evaluate
from evaluation.protocol import load_protocol
from wildhoi.dataset import DataFolder, load_annotations, open_folder, seal_folder, write_annotations
from wildhoi.open_scenes.truth import write_open_truth
from wildhoi.schema import Reconstruction
from wildhoi.submission.folder import read_submission, write_submission
from wildhoi.submission.manifest import Manifest

PROTOCOL = "open@1"
STEPS = 10
"""Parts of one large scoring after which memory is looked at."""


def write_scene(folder: Path, images: int) -> None:
    """Truth of so many images, the shipped scenes of the open set one after the other, and guesses near it."""
    shipped = load_annotations(write_open_truth(folder / "open"), "test")
    turns = range(-(-images // len(shipped)))
    every = [replace(truth, image_id=f"{truth.image_id}-{turn}") for turn in turns for truth in shipped]
    chosen = every if images == len(every) else [every[n * len(every) // images] for n in range(images)]
    for name in sorted({truth.object for truth in chosen}):
        own = [truth for truth in chosen if truth.object == name]
        write_annotations(folder / "data" / "annotations" / name / "test-00000-of-00001.parquet", own)
    data = seal_folder(folder / "data", name="open", body_model="open")
    manifest = Manifest("perturbed", data.name, "test", data.revision_of("test"), "open", ("human",), "2D")
    write_submission(folder / "guesses", manifest, [guess(truth, number) for number, truth in enumerate(chosen)])


def guess(truth, number: int) -> Reconstruction:
    """A reconstruction some centimetres and degrees off."""
    random = np.random.default_rng(number)
    human = replace(truth.human, body_pose=truth.human.body_pose + 0.03 * random.standard_normal((21, 3)))
    pose = truth.object_pose
    moved = replace(pose, translation=pose.translation + 0.05 * random.standard_normal(3))
    return Reconstruction(truth.image_id, human, moved)


def score(folder: Path, data: DataFolder, watch: Callable[[int, int], None] | None = None) -> str:
    """Score once as the command does; the seal tells whether it was the same."""
    scores = evaluate(read_submission(folder / "guesses"), data, load_protocol(PROTOCOL), Options(), watch)
    return scores.scores["seal"]


def resident() -> int:
    """Bytes that this process holds, after it has given back what it can."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def soak(folder: Path, rounds: int) -> dict:
    """Score so many times; bytes after each round, and within the first one after each tenth of the images."""
    within: list[int] = []

    def watch(done: int, total: int) -> None:
        if done * STEPS >= (len(within) + 1) * total:
            within.append(resident())

    data = open_folder(folder / "data")
    after, seals = [], set()
    for number in range(rounds):
        seals.add(score(folder, data, None if number else watch))
        after.append(resident())
    return {"within": within, "after": after, "seals": len(seals)}


def main() -> None:
    folder, images, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    write_scene(folder, images)
    json.dump(soak(folder, rounds), sys.stdout)


if __name__ == "__main__":
    main()
