"""Version 1 of the open set stays what it is: the numbers it is made with, and the solved test scenes that ship."""

import tomllib

import igl
import numpy as np
import pytest

from wildhoi.body import load_body, pose_person
from wildhoi.files import canonical_json, sha256_file, sha256_text
from wildhoi.objects import TABLE, find_category
from wildhoi.open_scenes.cameras import load_camera_settings
from wildhoi.open_scenes.making import visible_share
from wildhoi.open_scenes.plan import stored_scenes
from wildhoi.open_scenes.posing.checks import depth_inside
from wildhoi.open_scenes.posing.settings import load_posing_settings, swap_sides
from wildhoi.open_scenes.posing.skin import find_patches
from wildhoi.open_scenes.scene_files import read_scenes
from wildhoi.open_scenes.version import FOLDER, load_version
from wildhoi.templates import SHIPPED, load_template

STORED = 1e-4  # metres that float32 may cost
EVERY = 25


def interactions():
    table = tomllib.loads(TABLE.read_text())
    return {name: entry["interactions"] for name, entry in table.items() if "interactions" in entry}


def test_no_number_of_the_version_changed():
    found = {path.relative_to(FOLDER).as_posix(): sha256_file(path) for path in sorted(FOLDER.rglob("*.*"))}
    del found["version.toml"]
    found["interactions"] = sha256_text(canonical_json(interactions()))
    assert found == load_version().frozen, "a change of the open set is a new version, with test scenes of its own"


@pytest.mark.parametrize("name", load_version().objects)
def test_the_scenes_that_ship_hold(name):
    body, template, limits = load_body("open"), load_template(SHIPPED / name), load_posing_settings().checks
    patches = find_patches(body)
    for scene in read_scenes(stored_scenes(name)).scenes[::EVERY]:
        skin, _ = pose_person(scene.human, body)
        thing = template.posed(scene.object_pose, articulate=True)
        deepest = max(depth_inside(thing, skin, body.faces), depth_inside(skin, thing, template.faces))
        assert deepest < limits["inside"] + STORED
        for touch in find_category(name).interactions[scene.interaction].touch:
            if touch.loose is None:  # a scene may be seen in a mirror, so either side may touch
                parts = [patches.vertices[row] for row in patches.rows([touch.body, swap_sides(touch.body)])]
                gaps = [
                    np.sqrt(igl.point_mesh_squared_distance(skin[p], thing, template.faces)[0].min()) for p in parts
                ]
                assert min(gaps) < limits["gap"] + STORED
        shown = visible_share(scene, skin, thing, body, template)
        assert shown == pytest.approx(scene.visible, abs=1e-3) and shown >= load_camera_settings().window["visible"]
