"""The terms of a fit written out from their definitions: one image, one keypoint, one pair, one pixel at a time.

Numbers are float64, and arrays numpy's; nothing here is shared with `baselines`.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
import smplx.joint_names
from scipy.spatial import cKDTree

FOCAL, CROP = 5000, 256
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
COCO_BODY = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
"""The first 23 of COCO-WholeBody's 133."""


def hand_names(side):
    """A hand's 21 of the 133: the wrist, then each finger from root to tip; tips are called by the finger alone."""
    return [f"{side}_wrist", *(f"{side}_{finger}{k}" for finger in FINGERS for k in ("1", "2", "3", ""))]


@dataclass
class Image:
    """One image's scene: what was seen, and what the parameters make of it (SMPL frame, metres)."""

    sample: object
    human: object
    pose: object
    keypoints: np.ndarray
    person: np.ndarray
    person_faces: np.ndarray
    thing: np.ndarray
    thing_faces: np.ndarray
    template: object
    joints: np.ndarray


def class_keypoints(body, tensors):
    """The 65 keypoints (b, 65, 3) from the joints that the `smplx` class gives, by its own names; SMPL frame."""
    betas, body_pose, left, right = tensors
    out = body.module(
        betas=betas, body_pose=body_pose.flatten(1), left_hand_pose=left.flatten(1), right_hand_pose=right.flatten(1),
        **_blank_face(body, betas),
    )  # fmt: skip
    names = list(smplx.joint_names.JOINT_NAMES if body.n_joints == 55 else smplx.joint_names.SMPLH_JOINT_NAMES)
    wanted = [*COCO_BODY, *hand_names("left"), *hand_names("right")]
    joints = out.joints - out.joints[:, :1]
    return joints[:, [names.index(name) for name in wanted]]


def _blank_face(body, betas):
    batch = len(betas)
    blank = {"global_orient": betas.new_zeros(batch, 3)}
    if body.n_joints == 55:
        blank |= {name: betas.new_zeros(batch, 3) for name in ("jaw_pose", "leye_pose", "reye_pose")}
        blank |= {"expression": betas.new_zeros(batch, 10)}
    return blank


def seen_from(camera, point):
    """A point of the SMPL frame in the camera's."""
    return camera.rotation @ point + camera.translation


def plane(camera, point):
    """Image coordinates x/z, y/z of a point of the SMPL frame."""
    x, y, z = seen_from(camera, point)
    return np.array([x / z, y / z])


def _reprojection(image, numbers, of_133):
    total = 0.0
    camera = image.sample.camera
    for number, row in zip(numbers, of_133, strict=True):
        *pixel, confidence = image.sample.wholebody_keypoints[row].astype(np.float64)
        if not np.isfinite([*pixel, confidence]).all() or confidence < 0.5:
            continue
        seen = (np.array(pixel) - camera.principal_point) / camera.focal
        error = 1000 * (plane(camera, image.keypoints[number]) - seen)
        total += confidence * (error[0] ** 2 + error[1] ** 2)
    return total / (2 * len(numbers))


def body_keypoints(image):
    return _reprojection(image, range(23), range(23))


def hand_keypoints(image):
    left = _reprojection(image, range(23, 44), range(91, 112))
    return left + _reprojection(image, range(44, 65), range(112, 133))


def _mean_square(array):
    return sum(float(value) ** 2 for value in np.ravel(array)) / np.size(array)


def betas_decay(image):
    return _mean_square(image.human.betas - image.sample.human.betas)


def body_decay(image):
    return _mean_square(image.human.body_pose - image.sample.human.body_pose)


def hand_decay(image):
    sides = ("left_hand_pose", "right_hand_pose")
    return sum(_mean_square(getattr(image.human, side) - getattr(image.sample.human, side)) for side in sides)


def body_norm(image):
    return _mean_square(image.human.body_pose)


def hand_norm(image):
    return _mean_square(image.human.left_hand_pose) + _mean_square(image.human.right_hand_pose)


def scale_decay(image):
    return (image.pose.scale - 1) ** 2


def square_cells(shape, box):
    """Which cell (row, column) of a map each cell of the square takes, None outside; in exact arithmetic.

    The square lies about the middle of the box, its side is the box's longer side. On it there are as many cells on a
    side as the finer axis of the map would have there, at most 128. Ties go to the later cell.
    """
    extents = [Fraction(float(box[2])), Fraction(float(box[3]))]
    counts = [shape[1], shape[0]]
    longer, finest = max(extents), min(e / n for e, n in zip(extents, counts, strict=True))
    side = max(1, min(128, round(longer / finest)))

    def nearest(axis):
        found = []
        for k in range(side):
            middle = extents[axis] / 2 + longer * (Fraction(2 * k + 1, 2 * side) - Fraction(1, 2))
            cell = math.floor(middle / (extents[axis] / counts[axis]))
            found.append(cell if 0 <= cell < counts[axis] else None)
        return found

    columns, rows = nearest(0), nearest(1)
    return [[None if None in (row, column) else (row, column) for column in columns] for row in rows], side


def moves(template, point):
    """Whether the joint turns the vertex nearest to a point."""
    nearest = _tree(template).query(point)[1]
    turning = template.joint_vertices
    return turning.start <= nearest < turning.stop


@cache
def _tree(template):
    return cKDTree(template.vertices)


def place(template, pose, point):
    """A point of the template in the SMPL frame; the joint turns it if its nearest vertex is one that turns."""
    if pose.angle is not None and moves(template, point):
        first, second = (template.keypoints[name] for name in template.category.joint.axis_keypoints)
        axis = (second - first) / np.linalg.norm(second - first)
        arm = point - first
        along = (arm @ axis) * axis
        across = arm - along
        point = first + along + math.cos(pose.angle) * across + math.sin(pose.angle) * np.cross(axis, across)
    return pose.scale * pose.rotation @ point + pose.translation


def correspondences(image, background=False):
    """The better of the map and its twin."""
    axes = image.template.category.mirror_axes
    versions = [(1, 1, 1)] if axes is None else [(1, 1, 1), axes]
    return min(_trimmed(image, np.array(signs), background) for signs in versions)


def _trimmed(image, signs, background):
    sample = image.sample
    grid, box, camera = (
        sample.object_correspondences,
        sample.object_correspondences_box.astype(np.float64),
        sample.camera,
    )
    cells, side = square_cells(grid.shape, box)
    errors, foreground = [], 0
    pitch = box[2] / grid.shape[1], box[3] / grid.shape[0]
    for j in range(side):
        for i in range(side):
            point, pixel = np.zeros(3), None
            if cells[j][i] is not None:
                row, column = cells[j][i]
                pixel = np.array([box[0] + column * pitch[0], box[1] + row * pitch[1]])
                value = grid[row, column].astype(np.float64)
                point = value if np.isfinite(value).all() else point
            there = bool(point.any())
            foreground += there
            if not there and not background:
                continue
            if pixel is None:  # a cell of the square beside the box: where a cell of the map's size would be
                pixel = _beside(j, i, side, box, grid.shape)
            seen = (pixel - camera.principal_point) / camera.focal
            moved = plane(camera, place(image.template, image.pose, signs * point))
            errors.append((FOCAL * (moved[0] - seen[0])) ** 2 + (FOCAL * (moved[1] - seen[1])) ** 2)
    kept = 98 * foreground // 100
    return sum(sorted(errors)[:kept]) / side**2


def _beside(j, i, side, box, shape):
    """The pixel of the map's cell that would lie at a cell of the square, were the map larger."""
    pixel = []
    for axis, k, count in ((0, i, shape[1]), (1, j, shape[0])):
        extent, longer = Fraction(float(box[2 + axis])), Fraction(float(max(box[2:])))
        middle = extent / 2 + longer * (Fraction(2 * k + 1, 2 * side) - Fraction(1, 2))
        pixel.append(float(box[axis]) + math.floor(middle / (extent / count)) * float(extent / count))
    return np.array(pixel)


def _third(a, b):
    return float(sum((a[k] - b[k]) ** 2 for k in range(3))) / 3


def coarse_interaction(image):
    return _third(image.person.mean(axis=0), image.thing.mean(axis=0))


def _box(camera, vertices):
    """Rectangle (lows, highs) in image coordinates and range of depths of vertices."""
    seen = np.array([seen_from(camera, vertex) for vertex in vertices])
    flat = seen[:, :2] / seen[:, 2:]
    return flat.min(axis=0), flat.max(axis=0), seen[:, 2].min(), seen[:, 2].max()


def _meet(a, b):
    """Whether rectangles overlap or touch after each has grown about its middle to half sizes of 1.5."""
    for axis in (0, 1):
        (low, high), (its_low, its_high) = ((box[0][axis], box[1][axis]) for box in (a, b))
        middle, its_middle = (low + high) / 2, (its_low + its_high) / 2
        if abs(middle - its_middle) > 1.5 * (high - low) / 2 + 1.5 * (its_high - its_low) / 2:
            return False
    return True


def _gap(a, b):
    """Metres between two ranges of depth."""
    if a[3] < b[2]:
        return b[2] - a[3]
    return a[2] - b[3] if b[3] < a[2] else 0.0


def assigned_distances(image, triples):
    """The distances of the assigned pairs; a triple is vertices of the body, of the object, and of the gate."""
    camera, found = image.sample.camera, []
    for human, thing, gate in triples:
        body_box, object_box, gate_box = (
            _box(camera, vertices) for vertices in (image.person[human], image.thing[thing], image.person[gate])
        )
        if _meet(gate_box, object_box) and _gap(body_box, object_box) < 5:
            found.append(_third(image.person[human].mean(axis=0), image.thing[thing].mean(axis=0)))
    return found


def fine_interaction(image, triples):
    found = assigned_distances(image, triples)
    return sum(found) / len(found) if found else 0.0


def touching(body, template):
    """The pairs of the category table: vertices of the body's part, of the object's, and the body's again."""
    table = template.category.contact
    pairs = [(body.parts[part], template.contact_vertices[name]) for part, names in table.items() for name in names]
    return [(part, thing, part) for part, thing in pairs]


def published_pairs(body, template):
    """Every part of the body with every part of the object; the gate is the part that touches the object's."""
    pairs = touching(body, template)
    distinct = {tuple(part): part for part, _, _ in pairs}
    return [(part, thing, gate) for gate, thing, _ in pairs for part in distinct.values()]


def crop(sample, mask, box):
    """A mask on the crop: the pixel of the frame nearest to each of the crop's."""
    found = np.zeros((CROP, CROP), bool)
    if mask is None:
        return found
    camera = sample.camera
    steps = [(k - CROP / 2) / FOCAL for k in range(CROP)]
    columns = [math.floor(s * camera.focal[0] + camera.principal_point[0] + 0.5) - box[0] for s in steps]
    rows = [math.floor(s * camera.focal[1] + camera.principal_point[1] + 0.5) - box[1] for s in steps]
    for j, row in enumerate(rows):
        for i, column in enumerate(columns):
            if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
                found[j, i] = mask[row, column] > 0
    return found


def paint(vertices, faces, marked):
    """The depth of the nearest face at marked pixels of the crop, face by face; camera frame, infinite where none."""
    depth = np.full((CROP, CROP), np.inf)
    if not marked.any():
        return depth
    screen = vertices[:, :2] / vertices[:, 2:] * FOCAL + CROP / 2
    rows, columns = np.nonzero(marked)
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()])
    corners = screen[faces]
    firsts = np.maximum(np.ceil(corners.min(1)), low).astype(int)
    lasts = np.minimum(np.floor(corners.max(1)), high).astype(int)
    sums = np.pad(marked, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    (left, top), (right, bottom) = np.stack([firsts, np.maximum(lasts + 1, firsts)]).clip(0, CROP).transpose(0, 2, 1)
    held = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    for number in np.flatnonzero(held):  # boxes of the others hold no marked pixel
        (a, b, c), first, last, face = corners[number], firsts[number], lasts[number], faces[number]
        x, y = np.meshgrid(np.arange(first[0], last[0] + 1), np.arange(first[1], last[1] + 1))
        weights = np.stack([_area(b, c, x, y), _area(c, a, x, y), _area(a, b, x, y)])
        total = weights.sum(0)
        inside = ((weights >= 0).all(0) | (weights <= 0).all(0)) & (total != 0)
        inverse = (weights / vertices[face, 2][:, None, None]).sum(0)
        here = np.where(inside, total / np.where(inside, inverse, 1), np.inf)
        window = depth[first[1] : last[1] + 1, first[0] : last[0] + 1]
        np.minimum(window, here, out=window)
    return np.where(marked, depth, np.inf)


def _area(p, q, x, y):
    return (p[0] - x) * (q[1] - y) - (p[1] - y) * (q[0] - x)


def depth_sums(image):
    """The two sums of the ordinal depth: person in front by the masks, object in front by the masks."""
    sample, camera = image.sample, image.sample.camera
    person = crop(sample, sample.person_mask, sample.person_mask_box)
    thing = crop(sample, sample.object_mask, sample.object_mask_box)
    seen = [vertices @ camera.rotation.T + camera.translation for vertices in (image.person, image.thing)]
    other = paint(seen[1], image.thing_faces, person ^ thing)
    depth = paint(seen[0], image.person_faces, (person ^ thing) & np.isfinite(other))
    sums = [0.0, 0.0]
    for j, i in zip(*np.nonzero(np.isfinite(depth) & np.isfinite(other)), strict=True):
        gap = depth[j, i] - other[j, i]
        if person[j, i] and not thing[j, i] and gap > 0:
            sums[0] += math.log(1 + math.exp(min(gap, 2)))
        if thing[j, i] and not person[j, i] and gap < 0:
            sums[1] += math.log(1 + math.exp(min(-gap, 2)))
    return sums


def ordinal_depth(image):
    return sum(depth_sums(image))


def candidates(occluded, mean, threshold):
    """The vertices that may touch, and the weight of each (equation 14)."""
    return {i: float(c * m) for i, (c, m) in enumerate(zip(occluded, mean, strict=True)) if c * m > threshold}


def contact(image, human, thing, nearest_first=False):
    """Equation 14 for candidates {vertex: weight}; with `nearest_first` the minimum is over distances alone."""
    if not human or not thing:
        return 0.0
    sums = [0.0, 0.0]
    for i, weight in human.items():
        pairs = [(np.linalg.norm(image.person[i] - image.thing[j]), weight * other) for j, other in thing.items()]
        sums[0] += _least(pairs, nearest_first)
    for j, weight in thing.items():
        pairs = [(np.linalg.norm(image.person[i] - image.thing[j]), weight * other) for i, other in human.items()]
        sums[1] += _least(pairs, nearest_first)
    return float(sums[0] / len(human) + sums[1] / len(thing))


def _least(pairs, nearest_first):
    if nearest_first:
        distance, weight = min(pairs)
        return weight * distance
    return min(weight * distance for distance, weight in pairs)


def prior(image, cameras, spread):
    """Equation 13 of a normal density: how far each ray passes from the pelvis, seen from each virtual camera."""
    points = [
        *image.joints[:22],
        *(image.thing[rows].mean(axis=0) for rows in image.template.keypoint_vertices.values()),
    ]
    total = 0.0
    for camera in cameras:
        distance = math.sqrt(sum(number**2 for number in camera))
        squares = 0.0
        for point in points:
            ray = (point - camera) / np.linalg.norm(point - camera)
            squares += sum((distance * ray[axis] + camera[axis]) ** 2 for axis in range(3))
        total += -0.5 * squares / spread**2 / (3 * len(points))
    return -total / len(cameras)
