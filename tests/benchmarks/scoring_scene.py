"""Images to score, and a twin that scores them as the published evaluators do.

`python tests/benchmarks/scoring_scene.py FOLDER COUNT` scores COUNT images and writes the peak memory in MB.
"""

import resource
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh
from scipy.spatial.transform import Rotation
from sklearn.neighbors import NearestNeighbors

from evaluation.protocol import load_protocol
from evaluation.scoring import Item, Job, score_items
from wildhoi.body import load_body
from wildhoi.schema import Annotation, Camera, Human, ObjectPose, Reconstruction
from wildhoi.templates import load_template

OBJECT = "backpack"
COMPARED = ("chamfer_human", "chamfer_object", "rotation", "translation")
CAMERA = Camera(np.eye(3), np.array([0.0, 0.0, 40.0]), np.array([5000.0, 5000.0]), np.array([128.0, 128.0]))


def write_template(folder):
    """A torus of 3,000 vertices as the template of an object."""
    path = Path(folder) / OBJECT / "template.ply"
    path.parent.mkdir(parents=True)
    mesh = trimesh.creation.torus(0.2, 0.08, major_sections=60, minor_sections=50)
    assert len(mesh.vertices) == 3000
    mesh.export(path)


def job(folder, alignment="combined", metrics=COMPARED):
    protocol = replace(load_protocol("behave@1"), alignment=alignment, metrics=metrics, recalls={})
    return Job(protocol, body="open", flat_hands=False, objects=Path(folder))


def human(rng, spread):
    return Human(
        rng.standard_normal(10),
        spread * rng.standard_normal((21, 3)),
        0.1 * rng.standard_normal((15, 3)),
        0.1 * rng.standard_normal((15, 3)),
    )


def nudged(person, rng):
    return replace(person, body_pose=person.body_pose + 0.02 * rng.standard_normal((21, 3)))


def items(count, off):
    """Images whose predicted object is `off` metres from the true one, the body's joints about a degree."""
    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        person, axis = human(rng, 0.3), rng.standard_normal(3)
        pose = ObjectPose(Rotation.random(random_state=number).as_matrix(), 0.3 * rng.standard_normal(3))
        guess = replace(pose, translation=pose.translation + off * axis / np.linalg.norm(axis))
        name = f"{number:06d}"
        made.append(
            Item(
                Annotation(name, OBJECT, f"v{number % 9}", person, pose, CAMERA),
                Reconstruction(name, nudged(person, rng), guess),
            )
        )
    return made


def ours(scored, of):
    return score_items(scored, of)


# the published way ------------------------------------------------------------------------------------------------


def published(scored, of):
    """Chamfer distances (cm) image by image: the body in float32 at batch 1, trimesh's points, scikit-learn's tree."""
    body = load_body("open", dtype=torch.float32)
    faces, template = np.asarray(body.faces), load_template(of.objects / OBJECT)
    rows = []
    for item in scored:
        clouds = {}
        sides = []
        for side in (item.record, item.annotation):
            sides.append((posed_body(body, side.human), template.posed(side.object_pose)))
        if of.protocol.alignment == "combined":
            sides[0] = aligned(sides[0], sides[1])
        for name, (person, thing) in zip(("prediction", "truth"), sides, strict=True):
            clouds["human", name] = points_on(person, faces, of.protocol.points)
            clouds["object", name] = points_on(thing, template.faces, of.protocol.points)
        rows.append(
            {part: 100 * chamfer(clouds[part, "prediction"], clouds[part, "truth"]) for part in ("human", "object")}
        )
    return rows


def posed_body(body, person):
    """With the gradient's bookkeeping, as published: the model's parameters ask for it."""
    arrays = (person.betas, person.body_pose, person.left_hand_pose, person.right_hand_pose)
    return body.surface(*(torch.tensor(a[None], dtype=torch.float32) for a in arrays)).vertices[0].detach().numpy()


def aligned(prediction, truth):
    p, g = np.concatenate(prediction), np.concatenate(truth)
    mp, mg = p.mean(axis=0), g.mean(axis=0)
    k = (p - mp).T @ (g - mg)
    u, _, vt = np.linalg.svd(k)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    r = vt.T @ sign @ u.T
    s = np.trace(r @ k) / ((p - mp) ** 2).sum()
    return tuple(s * (v - mp) @ r.T + mg for v in prediction)


def points_on(vertices, faces, count):
    mesh = trimesh.Trimesh(vertices, faces)  # its default clean-up included, as published
    return trimesh.sample.sample_surface(mesh, count)[0]


def chamfer(x, y):
    total = 0.0
    for points, queries in ((x, y), (y, x)):
        tree = NearestNeighbors(n_neighbors=1, leaf_size=1, algorithm="kd_tree", metric="l2").fit(points)
        total += tree.kneighbors(queries)[0].mean()
    return total


if __name__ == "__main__":
    ours(items(int(sys.argv[2]), 0.02), job(sys.argv[1]))
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))
