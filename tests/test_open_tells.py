"""What tells the interaction in a picture of the open set: person and object, and nothing else."""

import numpy as np
import pytest
from open_tells import blanked, classify, draw_backgrounds, draw_pictures

OBJECT, SIDE, SEED = "barbell", 96, 52
SCENES, VIEWS, BACKGROUNDS = 100, 2, 500
SURE, UNSURE = 1e-6, 0.01


@pytest.fixture(scope="module")
def pictures():
    return draw_pictures(OBJECT, SCENES, SEED, SIDE, VIEWS)


@pytest.fixture(scope="module")
def backgrounds():
    return draw_backgrounds(OBJECT, BACKGROUNDS, SEED, SIDE)


def test_the_interaction_can_be_told_from_the_picture(pictures):
    score = classify(pictures)
    assert score.total >= 0.95 * SCENES
    assert score.accuracy > 2 * score.chance and score.p_value < SURE, str(score)


def test_it_cannot_be_told_once_person_and_object_are_covered(pictures):
    covered = blanked(pictures)
    assert (covered.images == 0).mean() < 0.85 and covered.images.std(axis=0).max() > 20  # some background is left
    score = classify(covered)
    assert score.p_value > UNSURE, str(score)


def test_it_cannot_be_told_from_the_background_alone(backgrounds):
    score = classify(backgrounds)
    assert score.p_value > UNSURE, str(score)


def test_a_tell_in_the_background_would_be_found(backgrounds):
    """One kind half as bright again: the classifier that finds nothing above could find something."""
    brighter = backgrounds.images * np.where(backgrounds.kinds == 0, 1.5, 1.0)[:, None, None, None]
    score = classify(backgrounds._replace(images=np.clip(brighter, 0, 255).astype(np.uint8)))
    assert score.p_value < UNSURE, str(score)
