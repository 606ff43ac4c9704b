"""A small classifier of what people do in pictures of the open set, and the pictures it is shown."""

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from scipy.stats import binomtest

from submissions import unchecked
from wildhoi.body import load_body, pose_person
from wildhoi.open_scenes.assembling import draw_scene
from wildhoi.open_scenes.cameras import CROP_FACTOR, draw_camera
from wildhoi.open_scenes.drawing.looks import draw_look
from wildhoi.open_scenes.drawing.render import draw_background
from wildhoi.open_scenes.drawing.settings import load_look_settings
from wildhoi.open_scenes.making import Role, draw_role, make_scenes
from wildhoi.open_scenes.randomness import generator
from wildhoi.templates import SHIPPED, load_template
from wildhoi.threads import one_thread

FOLDS, PENALTY, BINS = 5, 1.0, 9


class Pictures(NamedTuple):
    """Pictures (n, side, side, 3), the kind and the scene of each, and which are a scene's own view, not a further."""

    images: np.ndarray
    kinds: np.ndarray
    scenes: np.ndarray
    own: np.ndarray


class Score(NamedTuple):
    """Right answers among so many; how many the same answers had by chance, and how likely that is as many or more.

    By chance an answer is right as often as what it says occurs.
    """

    right: int
    total: int
    chance: float

    @property
    def accuracy(self):
        return self.right / self.total

    @property
    def p_value(self):
        return binomtest(self.right, self.total, self.chance, alternative="greater").pvalue

    def __str__(self):
        return (
            f"{self.right} of {self.total} right ({self.accuracy:.3f}), chance {self.chance:.3f}, p {self.p_value:.1e}"
        )


def draw_pictures(name, count, seed, side, views):
    """Pictures of so many solved scenes, as many of each kind; further views are by other cameras, in other clothes."""
    template, body = load_template(SHIPPED / name), load_body("open")
    interactions = list(template.category.interactions.values())
    kinds = [interaction.name for interaction in interactions]
    images, labels, scenes, own = [], [], [], []
    with one_thread(), unchecked():
        roles = [Role(f"{name}-tell-{i}", seed, interactions[i % len(kinds)]) for i in range(count)]
        for number, scene in enumerate(make_scenes(roles, template, body).scenes):
            skin, joints = pose_person(scene.human, body)
            thing = template.posed(scene.object_pose, articulate=True)
            for view in range(views):
                shown = scene
                if view:
                    rng = generator(seed, scene.scene_id, "again", view)
                    seen = draw_camera(skin, thing, joints[:22], scene.upright, rng)
                    shown = replace(scene, scene_id=f"{scene.scene_id}-{view}", **seen._asdict())
                drawing = draw_scene(shown.resized(side), seed, skin, body, template)
                images.append(cut_to_frame(drawing.images[0], shown.resized(side)))
                labels.append(kinds.index(scene.interaction))
                scenes.append(number)
                own.append(view == 0)
    return Pictures(np.array(images), np.array(labels), np.array(scenes), np.array(own))


def cut_to_frame(window, scene):
    """The window with black where the frame has ended."""
    (x, y, _), (left, top, width, height) = scene.window, scene.image_box
    image = np.zeros_like(window)
    part = slice(top - y, top - y + height), slice(left - x, left - x + width)
    image[part] = window[part]
    return image


def draw_backgrounds(name, count, seed, side):
    """What pictures show without person and object, with the kinds that the set draws for scenes of these names."""
    template, body = load_template(SHIPPED / name), load_body("open")
    kinds = list(template.category.interactions)
    images, labels = [], []
    with one_thread(), unchecked():
        for i in range(count):
            scene_id = f"{name}-train-{i:05}"
            labels.append(kinds.index(draw_role(scene_id, seed, template, ()).interaction.name))
            look = draw_look(generator(seed, scene_id, "look"), body, template, load_look_settings())
            images.append(draw_background(look, side))
    return Pictures(np.array(images), np.array(labels), np.arange(count), np.ones(count, bool))


def blanked(pictures):
    """The pictures with a square over person and object: as large in all of them, and in the middle, as the box is."""
    side = pictures.images.shape[1]
    margin = int((side - side / CROP_FACTOR) / 2)
    images = pictures.images.copy()
    images[:, margin : side - margin, margin : side - margin] = 0
    # grey: coding spreads colour, not light, over blocks that reach out of the square
    grey = images @ np.array([0.299, 0.587, 0.114])
    return pictures._replace(images=np.repeat(np.round(grey)[..., None], 3, axis=3).astype(np.uint8))


def describe(images, cells=8, small=12):
    """Histograms of gradient directions in cells, each relative to its neighbours, and the picture, small."""
    side = images.shape[1] // cells * cells
    features = []
    for image in images:
        grey = cv2.cvtColor(image[:side, :side], cv2.COLOR_RGB2GRAY).astype(np.float64) / 255
        down, across = np.gradient(np.sqrt(grey))
        angle, strength = np.arctan2(down, across) % np.pi / np.pi * BINS, np.hypot(down, across)
        shares = [np.clip(1 - np.abs((angle - k + BINS / 2) % BINS - BINS / 2), 0, 1) for k in range(BINS)]
        votes = np.stack([strength * share for share in shares], axis=2)
        cell = side // cells
        sums = votes.reshape(cells, cell, cells, cell, BINS).sum((1, 3))
        energy = cv2.blur((sums**2).sum(2), (3, 3))[..., None]
        tiny = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA) / 255
        features.append(np.concatenate([(sums / np.sqrt(energy + 1e-3)).ravel(), 0.1 * tiny.ravel()]))
    return np.array(features)


def answers(train, kinds, test, count):
    """The kinds that ridge regression onto the kinds says of test pictures."""
    middle, spread = train.mean(0), train.std(0) + 1e-3
    train, test = (train - middle) / spread, (test - middle) / spread
    goal = np.eye(count)[kinds] - 1 / count
    penalty = PENALTY * train.shape[1] * np.eye(len(train))
    return (test @ (train.T @ np.linalg.solve(train @ train.T + penalty, goal))).argmax(1)


def classify(pictures, mirror=True):
    """Tell the kind of every picture from pictures of other scenes, a fifth of the scenes at a time."""
    features, count = describe(pictures.images), int(pictures.kinds.max()) + 1
    turned = describe(np.ascontiguousarray(pictures.images[:, :, ::-1])) if mirror else features[:0]
    said = np.empty_like(pictures.kinds)
    for fold in range(FOLDS):
        # scenes of one kind are every so many: count them before they are dealt out
        held = pictures.scenes // count % FOLDS == fold
        train = np.concatenate([features[~held], turned[~held] if mirror else turned])
        kinds = np.concatenate([pictures.kinds[~held]] * (2 if mirror else 1))
        said[held] = answers(train, kinds, features[held], count)
    said, true = said[pictures.own], pictures.kinds[pictures.own]
    shares = [np.bincount(names, minlength=count) / len(true) for names in (said, true)]
    return Score(int((said == true).sum()), len(true), float(np.dot(*shares)))
