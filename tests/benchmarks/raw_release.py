"""A made-up raw WildHOI release of any length: textured frames of 480 x 270, all tracks at 30 frames a second."""

import json
import pickle

import cv2
import numpy as np
import torch

SIZE = 480, 270
OBJECT = "skateboard"


def write_release(root, *, videos, frames, templates):
    """Write training videos of one instance each; templates and keypoints are those of the fixtures."""
    rng = np.random.default_rng(0)
    names = [f"{number:04}" for number in range(1, videos + 1)]
    split = {OBJECT: {"train_videos": names, "test_videos": []}}
    (root / "data").mkdir(parents=True)
    (root / "train_test_split.json").write_text(json.dumps(split))
    for name in ("objects", "contact"):
        (root / "data" / name).symlink_to(templates / name)
    picture = cv2.resize(rng.integers(0, 255, (54, 96, 3), dtype=np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", noisy, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes()
    for name in names:
        _write_video(root / OBJECT, name, [f"{number:06}" for number in range(1, frames + 1)], jpeg, rng)
    return root


def _write_video(root, video, frames, jpeg, rng):
    person, thing = np.array([180, 40, 279, 239]), np.array([150, 200, 309, 259])
    sequence = [{"frame_id": f, "person_bbox": person, "object_bbox": thing} for f in frames]
    _dump(
        root / "hoi_tracking" / f"{video}_tracking.pkl", {"hoi_instances": [{"hoi_id": "001", "sequences": sequence}]}
    )
    masks = {"human": _mask(person), "object": _mask(thing)}
    (root / "images_temp" / video).mkdir(parents=True)
    for frame in frames:
        (root / "images_temp" / video / f"{frame}.jpg").write_bytes(jpeg)
        _dump(root / "hoi_mask" / video / "001" / f"{frame}.pkl", masks)
    floats = rng.standard_normal
    bodies = [
        {
            "frame_id": frame,
            **{name: [torch.tensor(value) for value in (3921.6, 3921.6)] for name in ("focal", "princpt")},
            "bbox": floats(4).astype(np.float32),
            "jaw_pose": floats((1, 3)).astype(np.float32),
            "expression": floats((1, 10)).astype(np.float32),
            "body_pose": floats((21, 3)).astype(np.float32),
            "left_hand_pose": floats((15, 3)).astype(np.float32),
            "right_hand_pose": floats((15, 3)).astype(np.float32),
            "betas": floats(10).astype(np.float32),
            "cam_R": np.eye(3, dtype=np.float32),
            "cam_T": np.array([[0, 0, 42]], np.float32),
        }
        for frame in frames
    ]
    poses = [
        {
            "frame_id": frame,
            "rotmat": np.eye(3, dtype=np.float32),
            "trans": np.array([0, 0, 41], np.float32),
            "success": np.float64(1),
            "smpl_princpt": floats(2).astype(np.float32),
            "smpl_focal": floats(2).astype(np.float32),
            "smpl_bboxes": floats(4).astype(np.float32),
        }
        for frame in frames
    ]
    keypoints = [{"frame_id": frame, "keypoints": floats((133, 3)).astype(np.float32)} for frame in frames]
    count = len(frames)
    projected = {
        "frame_ids": frames,
        "smpl_kps_seq": floats((count, 22, 2)).astype(np.float32),
        "object_kps_seq": floats((count, 8, 2)),
        "cam_R_seq": np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
        "cam_T_seq": np.zeros((count, 1, 3), np.float32),
        "focal_seq": np.ones((count, 2), np.float32),
        "princpt_seq": np.ones((count, 2), np.float32),
    }
    for folder, name, content in (
        ("smplx_tuned", "smplx", bodies),
        ("object_pose", "obj_RT", poses),
        ("wholebody_kps_refined", "wholebody_kps", keypoints),
        ("hoi_kps", "hoi_kps", projected),
    ):
        _dump(root / folder / video / f"001_{name}.pkl", content)


def _mask(box):
    """An ellipse in a box, packed as the release packs masks."""
    x, y, right, bottom = box
    height, width = bottom - y + 1, right - x + 1
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return {"mask": np.packbits(rows**2 + columns**2 <= 1), "mask_box": box, "mask_shape": (int(height), int(width))}


def _dump(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=4))
