"""A BEHAVE release made of the fixture's pictures, fits and scans, with what a test wants changed.

The bodies of the fixtures are 22 joints, which OpenPose's BODY_25 shows.
"""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

CAMERAS = range(4)
SIZE = (512, 384)
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
REST = np.array(
    [
        [0, 0, 0], [0.07, -0.09, 0], [-0.07, -0.09, 0], [0, 0.11, -0.02], [0.10, -0.47, 0], [-0.10, -0.47, 0],
        [0, 0.25, 0], [0.09, -0.88, -0.03], [-0.09, -0.88, -0.03], [0, 0.30, 0.02], [0.12, -0.94, 0.09],
        [-0.12, -0.94, 0.09], [0, 0.52, -0.02], [0.08, 0.42, -0.01], [-0.08, 0.42, -0.01], [0, 0.60, 0.03],
        [0.19, 0.44, -0.02], [-0.19, 0.44, -0.02], [0.45, 0.43, -0.04], [-0.45, 0.43, -0.04], [0.70, 0.43, -0.04],
        [-0.70, 0.43, -0.04],
    ]
)  # fmt: skip
BODY_25_ROWS = np.arange(1, 15)
BODY_25_JOINTS = (12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7)


def copy_release(source, target):
    """A copy that may be changed."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.depth.png", "pointcloud_table.npy", "*.obj"))
    return target


def read_fits(folder, name):
    """The raw numbers of a frame's fits, by the plain unpickler: fixtures are our own."""
    body = pickle.loads((folder / "person/fit02/person_fit.pkl").read_bytes())
    placed = pickle.loads((folder / name / "fit01" / f"{name}_fit.pkl").read_bytes())
    return body, placed


def write_fits(folder, name, body, placed):
    """Write a frame's fits."""
    for path, content in (
        (folder / "person/fit02/person_fit.pkl", body),
        (folder / name / "fit01" / f"{name}_fit.pkl", placed),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(content))


def write_frame(raw, sequence, frame, *, pictures=None, cameras=CAMERAS):
    """A frame folder with pictures alone, copied from the frame `pictures`."""
    folder = raw / "sequences" / sequence / frame
    folder.mkdir(parents=True, exist_ok=True)
    for camera in cameras:
        shutil.copy(pictures / f"k{camera}.color.jpg", folder)
    return folder


def write_tracks(folder, body_times, object_times, rng, *, dtype="<U9"):
    """30 fps arrays with random numbers; returns the raw numbers by time."""
    folder.mkdir(parents=True, exist_ok=True)
    body = {"poses": rng.normal(0, 0.2, (len(body_times), 156)), "betas": rng.normal(0, 1, (len(body_times), 10))}
    body["trans"] = rng.normal(0, 0.2, (len(body_times), 3)) + np.array([0, 0, 2])
    placed = {key: rng.normal(0, 0.3, (len(object_times), 3)) for key in ("angles", "trans")}
    np.savez(folder / "smpl_fit_all.npz", **body, frame_times=np.array(body_times, dtype))
    np.savez(folder / "object_fit_all.npz", **placed, frame_times=np.array(object_times, dtype))
    bodies = {time: {key: values[i] for key, values in body.items()} for i, time in enumerate(body_times)}
    return bodies, {time: {key: values[i] for key, values in placed.items()} for i, time in enumerate(object_times)}


def write_config(raw, date, camera, rotation, translation):
    """The place of a camera on a date: camera to world."""
    path = raw / "calibs" / date / "config" / str(camera) / "config.json"
    path.write_text(json.dumps({"rotation": rotation.reshape(-1).tolist(), "translation": translation.tolist()}))


def read_calibration(raw, date, camera):
    """R, t (camera to world), focal, principal point, as the raw files have them."""
    config = json.loads((raw / "calibs" / date / "config" / str(camera) / "config.json").read_text())
    color = json.loads((raw / "calibs/intrinsics" / str(camera) / "calibration.json").read_text())["color"]
    rotation = np.array(config["rotation"]).reshape(3, 3)
    focal, centre = np.array([color["fx"], color["fy"]]), np.array([color["cx"], color["cy"]])
    return rotation, np.array(config["translation"]), focal, centre


def write_mask(path: Path, inside):
    """A mask as a picture."""
    Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(path)


def read_grey(path: Path):
    """A mask of the release, by another decoder than the converter's."""
    return np.asarray(Image.open(path).convert("L")) > 127


def pose_joints(body_pose, root=(0, 0, 0)):
    """The joints (22, 3) with the pelvis at the origin, for axis-angles (21, 3) and a root rotation."""
    turns, places = [Rotation.from_rotvec(root)], [np.zeros(3)]
    for joint in range(1, 22):
        parent = PARENTS[joint]
        places.append(places[parent] + turns[parent].apply(REST[joint] - REST[parent]))
        turns.append(turns[parent] * Rotation.from_rotvec(body_pose[joint - 1]))
    return np.array(places)
