"""Every term against its slow twin, and the laws that all of them obey."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
import slow_losses
import torch
from fit_scenes import (
    N_HUMAN,
    N_OBJECT,
    THRESHOLD,
    TRIED,
    body,
    drawn_state,
    human_of,
    occlusion,
    pose_of,
    problem,
    put_at,
    put_in_depth,
    samples_of,
    spreads,
    start,
    template,
    value_of,
    virtual_cameras,
)

from baselines import painter as painter_module
from baselines.depth import ordinal_depth_sums
from baselines.fitting import Problem
from baselines.losses import TERMS, pair_distances
from baselines.observation import Observation
from baselines.phosa import released_coarse, released_depth, released_fine
from baselines.scene import BODY, CAMERAS, OBJECT
from submissions import unchecked
from wildhoi.body import body_parameters, pose_people

PARAMETERS = (*BODY, *OBJECT)
PLACE = ("object_rotation", "object_translation", "object_scale", "object_angle")
DEPENDS = {
    "body_keypoints": ("betas", "body_pose"),
    "hand_keypoints": BODY,
    "betas_decay": ("betas",),
    "body_decay": ("body_pose",),
    "hand_decay": ("left_hand_pose", "right_hand_pose"),
    "body_norm": ("body_pose",),
    "hand_norm": ("left_hand_pose", "right_hand_pose"),
    "correspondences": PLACE,
    "scale_decay": ("object_scale",),
    "coarse_interaction": PARAMETERS,
    "fine_interaction": PARAMETERS,
    "ordinal_depth": PARAMETERS,
    "contact": PARAMETERS,
    "contact_nearest": PARAMETERS,
    "prior": ("betas", "body_pose", *PLACE, CAMERAS),
}
"""What each term may depend on, by its definition."""
SMOOTH = sorted(DEPENDS.keys() - {"ordinal_depth"})
SOME = ("fine_interaction", "ordinal_depth", "contact", "contact_nearest")
"""Terms that look at some places alone, which not every parameter moves."""


@cache
def images(name):
    """The scenes of a category as the twins take them."""
    of = start(name)
    with unchecked():
        people = [human_of(of, row) for row in range(3)]
        posed = pose_people(people, body())
        tensors = body_parameters(people, body())
        keypoints = slow_losses.class_keypoints(body(), tensors).numpy()
        poses = [pose_of(of, row) for row in range(3)]
        things = [template(name).posed(pose, articulate=True) for pose in poses]
    return [
        slow_losses.Image(
            samples_of(name)[row], people[row], poses[row], keypoints[row], posed.vertices[row], body().faces,
            things[row], template(name).faces, template(name), posed.joints[row],
        )
        for row in range(3)
    ]  # fmt: skip


def candidates(image, side):
    count, size = (N_HUMAN, len(image.person)) if side == "human" else (N_OBJECT, len(image.thing))
    return slow_losses.candidates(*occlusion(image.sample, size, count), THRESHOLD)


def slow(name, term):
    """A term's twin for every image of a category."""
    function = getattr(slow_losses, "contact" if term == "contact_nearest" else term)
    found = []
    with unchecked():
        for row, image in enumerate(images(name)):
            if term == "prior":
                found.append(function(image, virtual_cameras(name)[row].numpy(), spreads()[row].item()))
            elif term.startswith("contact"):
                both = candidates(image, "human"), candidates(image, "object")
                found.append(function(image, *both, nearest_first=term == "contact_nearest"))
            elif term == "fine_interaction":
                found.append(function(image, slow_losses.touching(body(), template(name))))
            else:
                found.append(function(image))
    return np.array(found)


def test_there_is_a_twin_for_every_term():
    assert TERMS.keys() == DEPENDS.keys()
    assert {name for name, term in TERMS.items() if term.of_body_alone} == {
        name for name, depends in DEPENDS.items() if not set(depends) & set(OBJECT)
    }


@pytest.mark.parametrize("name", TRIED)
@pytest.mark.parametrize("term", SMOOTH)
def test_a_term_equals_its_twin(term, name):
    found = value_of(TERMS[term].function, problem(name)).numpy()
    assert found.shape == (3,)
    # weights of a surface sum to 1 to float32 only, which the two ways of summing it feel
    np.testing.assert_allclose(found, slow(name, term), rtol=1e-6, atol=1e-9)
    assert found.any() or term == "fine_interaction"


@pytest.mark.parametrize("name", ["barbell", "bicycle"])
def test_the_background_competes_where_it_is_kept(name):
    function = TERMS["correspondences"].function
    found = value_of(function, problem(name, (1,), background=True)).item()
    with unchecked():
        wanted = slow_losses.correspondences(images(name)[1], background=True)
    assert np.isclose(found, wanted, rtol=1e-6)
    assert found < value_of(function, problem(name, (1,))).item()


def turned(image):
    """An image's object turned half way about the axis that its symmetric twin leaves."""
    signs = np.array(image.template.category.mirror_axes, float)
    assert np.prod(signs) == 1
    return replace(image.pose, rotation=image.pose.rotation @ np.diag(signs))


def test_an_object_that_looks_alike_turned_loses_nothing_by_it():
    of, again = problem("barbell"), problem("barbell")
    rotations = np.stack([turned(image).rotation for image in images("barbell")])
    again.parameters["object_rotation"] = torch.from_numpy(rotations[:, :2].reshape(3, 6))
    function = TERMS["correspondences"].function
    first, second = value_of(function, of), value_of(function, again)
    assert torch.allclose(first, second, rtol=1e-9)
    off = replace(of.observation, points=of.observation.points * torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))
    with unchecked():
        assert not torch.allclose(function(of.state(), off), first, rtol=1e-3)


def violated(name, far=0.6):
    """A problem whose objects stand nearer or farther than the masks can agree with."""
    return put_in_depth(problem(name), [-far, far, -far / 3])


def test_ordinal_depth_equals_its_twin():
    name = "bicycle"
    of = violated(name)
    with unchecked():
        found = ordinal_depth_sums(of.state(), of.observation)
        moved = [
            replace(image, thing=template(name).posed(pose_of(of.parameters, row), articulate=True))
            for row, image in enumerate(images(name))
        ]
        wanted = np.array([slow_losses.depth_sums(image) for image in moved])
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)
    assert (wanted.sum(0) > 5).all()
    assert torch.equal(value_of(TERMS["ordinal_depth"].function, of), found.sum(1))


def test_ordinal_depth_is_the_same_for_people_who_stand_still_and_who_move():
    still, moving = violated("cello"), violated("cello")
    for name in BODY:
        moving.parameters[name] = moving.parameters[name].clone().requires_grad_(True)
    function = TERMS["ordinal_depth"].function
    with unchecked():
        state = still.state()
        assert state.human.still and not moving.state().human.still
        assert torch.equal(function(state, still.observation), value_of(function, moving).detach())
        drawn = still.state(state.human)  # again, of people who are drawn already
        assert torch.equal(function(drawn, still.observation), value_of(function, moving).detach())


# -- batches -----------------------------------------------------------------------------------------------------------


def every_term(of, skip=()):
    """All terms of a problem, from one state."""
    with unchecked():
        state = of.state()
        return {name: TERMS[name].function(state, of.observation) for name in TERMS if name not in skip}


def assert_terms_close(found, wanted, rtol, atol=0.0):
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name].double(), value.double(), rtol=rtol, atol=atol, err_msg=name)


def alone(of, row):
    """One image of a problem by itself."""

    def pick(tensor):
        return tensor[row : row + 1]

    seen = of.observation
    tensors = {f.name: pick(v) for f in fields(seen) if isinstance(v := getattr(seen, f.name), torch.Tensor)}
    cameras = type(seen.cameras)(*map(pick, seen.cameras))
    initial = {n: pick(v) for n, v in seen.initial.items()}
    parameters = {n: pick(v) for n, v in of.parameters.items()}
    prior = seen.prior.take(torch.tensor([row]))
    return Problem(of.scene, Observation(cameras, initial=initial, prior=prior, **tensors), of.placement, parameters)


@pytest.mark.parametrize("name", ["barbell", "bicycle"])
def test_batched_is_one_at_a_time(name):
    together = every_term(violated(name))
    for row in range(3):
        assert_terms_close(
            every_term(alone(violated(name), row)), {n: v[row : row + 1] for n, v in together.items()}, 1e-9
        )
    read_alone = every_term(problem(name, (1,)), skip=("ordinal_depth",))
    assert_terms_close(read_alone, {n: v[1:2] for n, v in every_term(problem(name), ("ordinal_depth",)).items()}, 1e-6)


@pytest.mark.parametrize("name", ["bicycle"])
def test_float32_is_float64_to_a_ten_thousandth(name):
    exact = every_term(problem(name))
    rough = every_term(problem(name, dtype=torch.float32))
    assert all(value.dtype == torch.float32 for value in rough.values())
    assert_terms_close(rough, exact, 1e-4, 1e-6)


@pytest.mark.parametrize("spoil", [lambda v: 3 * v + 0.1, lambda v: v * torch.nan], ids=["other", "NaN"])
def test_batch_mates_change_nothing(spoil):
    before = violated("bicycle")
    after = violated("bicycle")
    for key, value in after.parameters.items():
        after.parameters[key] = torch.cat([value[:1], spoil(value[1:])]).requires_grad_(True)
    terms = every_term(after)
    assert_terms_close({n: v[:1].detach() for n, v in terms.items()}, {n: v[:1] for n, v in every_term(before).items()},
                       1e-9)  # fmt: skip
    gradients = torch.autograd.grad(sum(terms.values()).sum(), list(after.parameters.values()))
    for key, value in before.parameters.items():
        before.parameters[key] = value.clone().requires_grad_(True)
    wanted = torch.autograd.grad(sum(v[0] for v in every_term(before).values()), list(before.parameters.values()))
    for key, ours, theirs in zip(before.parameters, gradients, wanted, strict=True):
        np.testing.assert_allclose(ours[:1], theirs[:1], rtol=1e-7, atol=1e-7, err_msg=key)


# -- gradients ---------------------------------------------------------------------------------------------------------


def moved(of, names, tensors):
    parameters = {**of.parameters, **dict(zip(names, tensors, strict=True))}
    return Problem(of.scene, of.observation, of.placement, parameters)


@pytest.mark.parametrize("term", SMOOTH)
def test_its_gradient_is_right(term):
    of = problem("bicycle", (1,))
    names = [name for name in DEPENDS[term] if name in of.parameters]
    tensors = [of.parameters[name].clone().requires_grad_(True) for name in names]
    with unchecked():
        assert torch.autograd.gradcheck(
            lambda *now: TERMS[term].function(moved(of, names, now).state(), of.observation),
            tensors, eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True,
        )  # fmt: skip


def fixed_faces(monkeypatch):
    """Let the painter see for ever the faces that it sees first: of the person and of the object."""
    seen, paint = {}, painter_module.visible_faces

    def visible(vertices, faces, *rest, **options):
        key = len(faces)
        if key not in seen:
            seen[key] = paint(vertices, faces, *rest, **options)
        return seen[key]

    monkeypatch.setattr(painter_module, "visible_faces", visible)


@pytest.mark.parametrize("step", ["object_translation", "object_scale", "object_rotation", "betas", "body_pose"])
def test_the_gradient_of_ordinal_depth_is_right_where_faces_stay(monkeypatch, step):
    fixed_faces(monkeypatch)
    of = violated("bicycle")
    direction = torch.from_numpy(np.random.default_rng(3).normal(size=of.parameters[step].shape))
    middle = of.parameters[step].clone().requires_grad_(True)
    function = TERMS["ordinal_depth"].function
    loss = value_of(function, moved(of, [step], [middle]))
    (gradient,) = torch.autograd.grad(loss.sum(), middle)
    slope = (gradient * direction).flatten(1).sum(1)
    ahead, behind = (value_of(function, moved(of, [step], [middle.detach() + e * direction])) for e in (1e-7, -1e-7))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-7, rtol=2e-2, atol=1e-3)
    assert slope.abs().max() > 1


@pytest.mark.parametrize("name", ["bicycle", "cello"])
def test_what_does_not_matter_gets_no_gradient(name):
    of = violated(name)
    tensors = {key: value.clone().requires_grad_(True) for key, value in of.parameters.items()}
    with unchecked():
        state = moved(of, list(tensors), list(tensors.values())).state()
        values = {term: TERMS[term].function(state, of.observation) for term in TERMS}
    for term, value in values.items():
        gradients = torch.autograd.grad(value.sum(), list(tensors.values()), retain_graph=True, allow_unused=True)
        felt = {key for key, g in zip(tensors, gradients, strict=True) if g is not None and g.any()}
        assert felt <= set(DEPENDS[term]), term
        assert all(g is None or g.isfinite().all() for g in gradients), term
        assert felt == set(DEPENDS[term]) & tensors.keys() or (felt and term in SOME), term


# -- pairs, depth, contact: made-up cases ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRIED)
def test_pairs_are_assigned_as_the_twin_assigns_them(name):
    for released, make in ((False, slow_losses.touching), (True, slow_losses.published_pairs)):
        of = problem(name, released=released)
        with unchecked():
            distances, assigned = pair_distances(of.state())
            triples = make(body(), template(name))
            wanted = [slow_losses.assigned_distances(image, triples) for image in images(name)]
        assert distances.shape == (3, len(triples))
        for row in range(3):
            found = distances[row][assigned[row]]
            np.testing.assert_allclose(np.sort(found), np.sort(wanted[row]), rtol=1e-6, atol=1e-9)


def test_pairs_part_when_they_are_five_metres_apart_or_beside_each_other():
    of = problem("basketball")
    with unchecked():
        palm = of.state().human.means[:, 1]
        counts = {}
        for far in (0.0, 4.5, 6.0, -4.5, -6.0):
            put_at(of, palm, [far] * 3)
            counts[far] = pair_distances(of.state())[1][:, 0].sum().item()
        assert counts == {0.0: 3, 4.5: 3, 6.0: 0, -4.5: 3, -6.0: 0}
        put_at(of, palm + 3 * of.observation.cameras.rotation[:, 0], [0.0] * 3)
        assert not pair_distances(of.state())[1].any()
        assert not TERMS["fine_interaction"].function(of.state(), of.observation).any()


def quads(depths, dtype=torch.float64):
    """A square that fills the middle of the crop at each of these depths, metres."""
    corners = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=dtype)
    return torch.stack([(corners * 0.002 + torch.tensor([0, 0, 1.0], dtype=dtype)) * depth for depth in depths])


SQUARE = torch.tensor([[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize("fixed", [False, True])
def test_ordinal_depth_of_two_squares(fixed):
    """21 x 21 pixels; the masks split them, the depths are known, so are the sums."""
    of = problem("cello", fixed=fixed)
    person, thing = quads([40.0, 40.0, 44.0]), quads([41.0, 39.5, 40.0])
    masks = torch.zeros(3, 256, 256, dtype=torch.bool)
    left, right = masks.clone(), masks.clone()
    left[:, :, :128], right[:, :, 128:] = True, True  # 10 columns of the square are left, 11 right
    right[:, 128, :128] = True  # a row where both masks are: no pixel of it counts on the left
    seen = replace(of.observation, person=left, object=right)
    with unchecked():
        state = drawn_state(of.scene, person, SQUARE, thing, SQUARE, seen.cameras)
        sums = ordinal_depth_sums(state, seen)
    log = np.log1p(np.exp([1.0, 0.5, 2.0]))
    wanted = np.array([[0, 11 * 21 * log[0]], [10 * 20 * log[1], 0], [10 * 20 * log[2], 0]])
    np.testing.assert_allclose(sums, wanted, rtol=1e-9)


@pytest.mark.parametrize("fixed", [False, True])
def test_the_gradient_of_ordinal_depth_on_two_squares(fixed):
    of = problem("cello", (0, 1), fixed=fixed)
    masks = torch.ones(2, 256, 256, dtype=torch.bool)
    seen = replace(of.observation, person=masks, object=~masks)
    slant = torch.tensor([0.0, 0.1, 0.2, 0.1], dtype=torch.float64)[:, None]
    person, thing = quads([40.0, 41.0]) * (1 + slant / 40), quads([39.6, 38.0])

    def sums(a, b):
        return ordinal_depth_sums(drawn_state(of.scene, a, SQUARE, b, SQUARE, seen.cameras), seen)

    ours = [mesh[..., 2].clone().requires_grad_(True) for mesh in (person, thing)]
    with unchecked():
        # depths alone: with x and y fixed on the image the faces of pixels stay
        assert torch.autograd.gradcheck(
            lambda a, b: sums(at_depths(person, a), at_depths(thing, b)), ours, eps=1e-6, atol=1e-4, fast_mode=True
        )


def at_depths(mesh, depths):
    return mesh * (depths / mesh[..., 2])[..., None]


def test_contact_of_nothing_is_nothing():
    of = problem("bicycle")
    empty = torch.tensor([True, False, False])
    function = TERMS["contact"].function, TERMS["contact_nearest"].function
    before = [value_of(each, of) for each in function]
    for side in ("human_contact", "object_contact"):
        index = getattr(of.observation, side)
        parted = replace(of.observation, **{side: torch.where(empty[:, None], -1, index)})
        for key, value in of.parameters.items():
            of.parameters[key] = value.detach().requires_grad_(True)
        for each, old in zip(function, before, strict=True):
            with unchecked():
                value = each(of.state(), parted)
            gradients = torch.autograd.grad(value.sum(), list(of.parameters.values()), allow_unused=True)
            assert value[0] == 0 and torch.equal(value[1:].detach(), old[1:].detach())
            assert all(g is None or (g.isfinite().all() and not g[0].any()) for g in gradients)


def test_contact_of_vertices_at_one_place_has_a_gradient():
    of = problem("basketball", (0,))
    with unchecked():
        state = of.state()
        vertex, its = state.human.vertices[0, 100], state.object.vertices[0, 7]
        of.parameters["object_translation"] = of.parameters["object_translation"] + (vertex - its)
    one = torch.ones(1, 1, dtype=torch.float64)
    seen = replace(of.observation, human_contact=torch.tensor([[100]]), object_contact=torch.tensor([[7]]),
                   human_weight=one, object_weight=one)  # fmt: skip
    for key, value in of.parameters.items():
        of.parameters[key] = value.requires_grad_(True)
    with unchecked():
        value = TERMS["contact"].function(of.state(), seen)
    value.sum().backward()
    assert value.item() < 1e-12
    assert all(tensor.grad is None or tensor.grad.isfinite().all() for tensor in of.parameters.values())


def test_as_printed_contact_prefers_far_vertices_of_low_weight_and_the_variant_does_not():
    of = problem("basketball", (0,))
    with unchecked():
        state = of.state()
        order = (state.human.vertices[0] - state.object.vertices[0, 0]).norm(dim=1).argsort()
    ends = torch.stack([order[0], order[-1]])[None]
    weight = torch.tensor([[1.0, 1e-3]], dtype=torch.float64)
    seen = replace(of.observation, human_contact=ends, human_weight=weight, object_contact=torch.tensor([[0]]),
                   object_weight=torch.ones(1, 1, dtype=torch.float64))  # fmt: skip
    near, far = ((state.human.vertices[0, e] - state.object.vertices[0, 0]).norm() for e in ends[0])
    with unchecked():
        printed = TERMS["contact"].function(state, seen)
        variant = TERMS["contact_nearest"].function(state, seen)
    both = (near + 1e-3 * far) / 2
    assert torch.allclose(printed, both + 1e-3 * far) and torch.allclose(variant, both + near)


def test_the_prior_does_not_feel_how_many_cameras_or_pictures_there_are():
    of, function = problem("barbell"), TERMS["prior"].function
    wanted = value_of(function, of)
    doubled = moved(of, [CAMERAS], [of.parameters[CAMERAS].repeat(1, 2, 1)])
    torch.testing.assert_close(value_of(function, doubled), wanted)
    rows = torch.tensor([2, 0])
    some = replace(of, observation=of.observation.take(rows), placement=of.placement.take(rows),
                   parameters={name: tensor[rows] for name, tensor in of.parameters.items()})  # fmt: skip
    torch.testing.assert_close(value_of(function, some), wanted[rows])


def test_terms_that_lack_what_they_need_say_so():
    of = problem("barbell", (0,))
    with unchecked():
        with pytest.raises(ValueError, match="no prior"):
            TERMS["prior"].function(of.state(), replace(of.observation, prior=None))
        with pytest.raises(ValueError, match="no contact candidates"):
            TERMS["contact"].function(of.state(), replace(of.observation, human_contact=None))


# -- the authors' normalisation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRIED)
def test_the_mean_of_the_released_terms_is_the_published_value(name):
    of = problem(name, released=True)
    with unchecked():
        state, seen = of.state(), of.observation
        coarse, fine = released_coarse(state, seen), released_fine(state, seen)
        triples = slow_losses.published_pairs(body(), template(name))
        pairs = [d for image in images(name) for d in slow_losses.assigned_distances(image, triples)]
    wanted = [slow_losses.coarse_interaction(image) for image in images(name)]
    assert np.isclose(coarse.mean().item(), np.mean(wanted) / 3, rtol=1e-6)
    assert np.isclose(fine.mean().item(), np.mean(pairs) if pairs else 0, rtol=1e-6)


def test_the_mean_of_the_released_depth_is_the_published_value():
    of = violated("bicycle")
    with unchecked():
        sums = ordinal_depth_sums(of.state(), of.observation).numpy()
        found = released_depth(of.state(), of.observation)
    assert 0 < (sums > 0).sum() < sums.size
    assert np.isclose(found.mean().item(), sums.sum() / (sums > 0).sum(), rtol=1e-12)
    blank = replace(of.observation, object=torch.zeros_like(of.observation.object),
                    person=torch.zeros_like(of.observation.person))  # fmt: skip
    with unchecked():
        assert not released_depth(of.state(), blank).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, torch sees none")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_gpu_says_what_the_cpu_says(dtype):
    found = every_term(problem("bicycle", dtype=dtype, device="cuda", fixed=True))
    wanted = every_term(problem("bicycle", dtype=dtype))
    assert_terms_close({n: v.cpu() for n, v in found.items()}, wanted, 1e-4, 1e-6)
