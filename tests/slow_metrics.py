"""Slow, obvious twins of everything scoring computes, written from the definitions of the field."""

import hashlib
import tomllib
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

TABLE = tomllib.loads((Path(__file__).parents[1] / "wildhoi" / "objects.toml").read_text())
MASK = 2**64 - 1


# random numbers and points --------------------------------------------------------------------------------------


def philox_words(key, count):
    """Philox4x64-10 (Salmon et al. 2011) in whole numbers; the first block has counter 1."""
    words = []
    block = 0
    while len(words) < count:
        block += 1
        k0, k1 = key & MASK, key >> 64
        c0, c1, c2, c3 = block, 0, 0, 0
        for _ in range(10):
            high0, low0 = divmod(0xD2E7470EE14C6C93 * c0, 2**64)
            high1, low1 = divmod(0xCA5A826395121157 * c2, 2**64)
            c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
            k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
        words += [c0, c1, c2, c3]
    return words[:count]


def uniforms(count, width, *key):
    digest = hashlib.sha256("|".join(str(part) for part in key).encode()).digest()
    words = philox_words(int.from_bytes(digest[:16], "little"), count * width)
    return np.array([(word >> 11) / 2**53 for word in words]).reshape(count, width)


def area(a, b, c):
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a))


def sample(vertices, faces, numbers):
    """One point for each row of three numbers: the first picks a face by area, the others the place in it.

    The first numbers are taken in order of size, so that the points come face by face.
    """
    passed = np.cumsum([area(*vertices[face]) for face in faces])
    points = []
    for first, (_, u, v) in zip(sorted(numbers[:, 0]), numbers, strict=True):
        face = next(face for face, so_far in zip(faces, passed, strict=True) if first * passed[-1] < so_far)
        a, b, c = vertices[face]
        if u + v > 1:
            u, v = 1 - u, 1 - v
        points.append(a + u * (b - a) + v * (c - a))
    return np.array(points)


# distances --------------------------------------------------------------------------------------------------------


def nearest(queries, points):
    return cdist(queries, points).min(axis=1)


def chamfer(x, y):
    return nearest(x, y).mean() + nearest(y, x).mean()


def segment_distance(p, a, b):
    length = ((b - a) ** 2).sum()
    t = np.clip(((p - a) @ (b - a)) / length, 0, 1) if length > 0 else np.zeros(len(p))
    return np.linalg.norm(p - a - np.outer(t, b - a), axis=1)


def triangle_distance(p, a, b, c):
    """Distance of points to a triangle: to its plane above its inside, else to the nearest of its sides."""
    nearest_side = np.minimum.reduce([segment_distance(p, *side) for side in ((a, b), (b, c), (c, a))])
    normal = np.cross(b - a, c - a)
    size = np.linalg.norm(normal)
    if size == 0:
        return nearest_side
    height = (p - a) @ normal / size
    foot = p - np.outer(height, normal / size)
    sides = [np.cross(y - x, foot - x) @ normal for x, y in ((a, b), (b, c), (c, a))]
    above = np.minimum.reduce(sides) >= 0
    return np.where(above, np.abs(height), nearest_side)


def surface_distance(points, vertices, faces):
    return np.minimum.reduce([triangle_distance(points, *vertices[face]) for face in faces])


def winding_number(points, vertices, faces):
    """Sum of the solid angles of all triangles over 4 pi (van Oosterom and Strackee 1983)."""
    total = np.zeros(len(points))
    for face in faces:
        a, b, c = (vertices[corner] - points for corner in face)
        la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
        upper = (a * np.cross(b, c)).sum(axis=1)
        lower = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        total += 2 * np.arctan2(upper, lower)
    return total / (4 * np.pi)


# alignment --------------------------------------------------------------------------------------------------------


def umeyama(p, g):
    """Rotation, translation and scale from the sums of the definition, one point at a time."""
    mp, mg = sum(p) / len(p), sum(g) / len(g)
    k = sum(np.outer(a - mp, b - mg) for a, b in zip(p, g, strict=True))
    u, _, vt = np.linalg.svd(k)
    v = vt.T
    r = v @ np.diag([1, 1, np.linalg.det(v @ u.T)]) @ u.T
    s = np.trace(r @ k) / sum(((a - mp) ** 2).sum() for a in p)
    return r, mg - s * r @ mp, s


# symmetry ---------------------------------------------------------------------------------------------------------


def unit(vector):
    return np.array(vector, np.float64) / np.linalg.norm(vector)


def axis_of(spec, keypoints):
    if not isinstance(spec[0], list):
        return unit(spec)
    sides = [keypoints[a] - keypoints[b] for a, b in spec]
    return unit(sides[0] if len(sides) == 1 else np.cross(*sides))


def turn(axis, degrees):
    return Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix()


def symmetry_of(name, keypoints, override=()):
    """Kind, rotations (for a continuous axis: its ends), axis and fixed point, read off the table anew."""
    spec = {**TABLE[name].get("symmetry", {}), **dict(override)}
    point = np.array(spec.get("point", (0, 0, 0)), np.float64)
    if "point_keypoints" in spec:
        point = sum(keypoints[key] for key in spec["point_keypoints"]) / len(spec["point_keypoints"])
    if spec.get("kind") == "sphere" or not spec:
        return spec.get("kind", "finite"), [np.eye(3)], None, point
    axis = axis_of(spec["axis"], keypoints)
    if spec["kind"] == "axis":
        side = unit(np.cross(axis, [0.3, 0.5, 0.8]))
        return "axis", [np.eye(3), turn(side, 180)] if spec["flip"] else [np.eye(3)], axis, point
    rotations = [turn(axis, 360 / spec["order"] * k) for k in range(spec["order"])]
    if "across" in spec:
        across = np.array(spec["across"])
        across = unit(across - (across @ axis) * axis)
        rotations += [one @ turn(across, 180) for one in rotations]
    return "finite", rotations, axis, point


def angle_between(a, b):
    return np.degrees(Rotation.from_matrix(a.T @ b).magnitude())


def least_over_axis(error, rotations, axis):
    """The least of an error over all turns about an axis: 1 degree steps, then refined about the best."""
    best = np.inf
    for end in rotations:
        steps = [error(turn(axis, d) @ end) for d in range(360)]
        start = int(np.argmin(steps))
        found = minimize_scalar(
            lambda d, end=end: error(turn(axis, d) @ end),
            bounds=(start - 1, start + 1),
            method="bounded",
            options={"xatol": 1e-9},
        )
        best = min(best, min(steps), found.fun)
    return best


def rotation_error(predicted, true, symmetry):
    kind, rotations, axis, _ = symmetry
    if kind == "sphere":
        return 0.0
    if kind == "axis":
        return least_over_axis(lambda s: angle_between(true @ s, predicted), rotations, axis)
    return min(angle_between(true @ s, predicted) for s in rotations)


def mssd_error(vertices, predicted, true, symmetry):
    """Largest distance over all vertices, least over the group; an upper bound of it on a continuous axis."""
    kind, rotations, axis, point = symmetry
    posed = placed(vertices, predicted)

    def error(s):
        return np.linalg.norm(posed - placed((vertices - point) @ s.T + point, true), axis=1).max()

    if kind == "sphere":
        return error(true.rotation.T @ predicted.rotation)
    if kind == "axis":
        return least_over_axis(error, rotations, axis)
    return min(error(s) for s in rotations)


def placed(vertices, pose):
    return np.array([pose.scale * pose.rotation @ v + pose.translation for v in vertices])


def articulated(template, angle):
    """The template with its first mesh turned about the joint's axis."""
    start, end = (template.keypoints[key] for key in TABLE[template.category.name]["joint"]["axis_keypoints"])
    vertices = template.vertices.copy()
    count = template.mesh_sizes[0]
    vertices[:count] = (vertices[:count] - start) @ turn(unit(end - start), np.degrees(angle)).T + start
    return vertices


# all metrics of a pair -------------------------------------------------------------------------------------------


def all_metrics(pair):
    """Every metric of a Pair: only its meshes, poses, template and protocol are used."""
    p, g, protocol, template = pair.prediction, pair.truth, pair.protocol, pair.template
    name = template.category.name
    symmetry = symmetry_of(name, template.keypoints, protocol.symmetry.get(name, {}))
    clouds = {(part, side): cloud(pair, part, side) for part in ("human", "object") for side in ("prediction", "truth")}
    values = {
        "rotation": rotation_error(p.pose.rotation, g.pose.rotation, symmetry),
        "translation": 100 * np.sqrt(((p.pose.translation - g.pose.translation) ** 2).sum()),
        "mssd": 100 * mssd_error(template.vertices, p.pose, g.pose, symmetry),
        # Hinterstoisser et al. 2012 and BOP: from each true vertex to the nearest predicted one
        "add_s": 100 * nearest(placed(template.vertices, g.pose), placed(template.vertices, p.pose)).mean(),
    }
    for part in ("human", "object"):
        values[f"chamfer_{part}"] = 100 * chamfer(clouds[part, "prediction"], clouds[part, "truth"])
        values[f"surface_{part}"] = 100 * two_way_surface(pair, part, clouds)
        values[f"v2v_{part}"] = 100 * vertex_distance(getattr(p, part).vertices, getattr(g, part).vertices)
    return values | contact(p, g, protocol) | penetration(p) | f_scores(pair) | joint(pair)


def cloud(pair, part, side, vertices=None, count=None, purpose=()):
    surface = getattr(getattr(pair, side), part)
    numbers = uniforms(count or pair.protocol.points, 3, pair.protocol.seed, pair.image_id, part, side, *purpose)
    return sample(surface.vertices if vertices is None else vertices, surface.faces, numbers)


def two_way_surface(pair, part, clouds):
    total = 0.0
    for side, other in (("prediction", "truth"), ("truth", "prediction")):
        surface = getattr(getattr(pair, other), part)
        every, count = clouds[part, side], pair.protocol.surface_points
        points = np.array([every[i * len(every) // count] for i in range(count)])
        total += surface_distance(points, surface.vertices, surface.faces).mean()
    return total


def vertex_distance(a, b):
    return np.mean([np.linalg.norm(x - y) for x, y in zip(a, b, strict=True)]) if len(a) == len(b) else np.nan


def contact(p, g, protocol):
    touching = [nearest(s.human.vertices, s.object.vertices) < protocol.contact_distance for s in (p, g)]
    if len(touching[0]) != len(touching[1]):
        return dict.fromkeys(("contact_precision", "contact_recall", "contact_f1"), np.nan)
    predicted, true = ({i for i, near in enumerate(one) if near} for one in touching)
    precision = len(predicted & true) / len(predicted) if predicted else np.nan
    recall = len(predicted & true) / len(true) if true else np.nan
    f1 = 2 * len(predicted & true) / (len(predicted) + len(true)) if predicted or true else np.nan
    return {"contact_precision": precision, "contact_recall": recall, "contact_f1": f1}


def penetration(p):
    points, (vertices, faces) = p.object.vertices, (p.human.vertices, p.human.faces)
    inside = winding_number(points, vertices, faces) > 0.5
    depth = surface_distance(points[inside], vertices, faces).max() if inside.any() else 0.0
    return {"penetration_share": 100 * inside.mean(), "penetration_depth": 100 * depth}


def f_scores(pair):
    protocol = pair.protocol
    clouds = {
        (part, side): cloud(pair, part, side, count=protocol.f_score_points, purpose=("f-score",))
        for part in ("human", "object")
        for side in ("prediction", "truth")
    }
    scene = np.concatenate([clouds["human", "truth"], clouds["object", "truth"]])
    middle = scene.mean(axis=0)
    radius = np.sqrt(((scene - middle) ** 2).sum(axis=1).max())
    normal = {key: (points - middle) / (2 * radius) for key, points in clouds.items()}
    scores = {}
    for name, parts in (("human", ["human"]), ("object", ["object"]), ("combined", ["human", "object"])):
        predicted, true = (np.concatenate([normal[part, side] for part in parts]) for side in ("prediction", "truth"))
        precision = (nearest(predicted, true) < protocol.f_score_threshold).mean()
        recall = (nearest(true, predicted) < protocol.f_score_threshold).mean()
        scores[f"f_score_{name}"] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return scores


def joint(pair):
    if "joint" not in TABLE[pair.template.category.name]:
        return {"joint_angle": np.nan, "chamfer_articulated": np.nan}
    clouds, angles = [], []
    for side in ("prediction", "truth"):
        pose = getattr(pair, side).pose
        angles.append(pose.angle or 0.0)
        clouds.append(cloud(pair, "object", side, placed(articulated(pair.template, angles[-1]), pose)))
    difference = np.exp(1j * (angles[0] - angles[1]))
    return {"joint_angle": np.degrees(abs(np.angle(difference))), "chamfer_articulated": 100 * chamfer(*clouds)}
