"""Samples of random numbers, each lacking a random part of what a sample may have."""

import numpy as np

from wildhoi.schema import Camera, Human, ObjectPose, Sample


def smooth_picture(random, height, width):
    """A picture that JPEG keeps well."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 120 * np.sin(x / random.uniform(20, 40) + y / random.uniform(20, 40)) for _ in range(3)]
    return np.stack(waves, 2).astype(np.uint8)


def random_sample(random, image_id, name, *, lacks=0.4, video="0001"):
    """A sample; every field is left out with the probability `lacks`."""

    def maybe(make):
        return None if random.random() < lacks else make()

    def floats(*shape):
        return random.normal(0, 100, shape).astype(np.float32)

    def pixels(n):
        return tuple(int(v) for v in random.integers(1, 2000, n))

    def holes(*shape):
        values = floats(*shape)
        values[random.random(shape[:1]) < 0.3] = np.nan
        return values

    def mask():
        return random.random(tuple(random.integers(1, 40, 2))) < 0.5

    camera = maybe(lambda: Camera(floats(3, 3), floats(3), floats(2), floats(2)))
    grid = maybe(lambda: tuple(int(v) for v in random.integers(1, 9, 2)))
    angle = maybe(lambda: float(np.float32(random.normal())))
    return Sample(
        image_id,
        name,
        video,
        image=maybe(lambda: smooth_picture(random, *random.integers(8, 60, 2))),
        image_box=maybe(lambda: pixels(4)),
        frame_size=maybe(lambda: pixels(2)),
        person_box=maybe(lambda: floats(4)),
        object_box=maybe(lambda: floats(4)),
        person_mask=maybe(mask),
        person_mask_box=maybe(lambda: pixels(4)),
        object_mask=maybe(mask),
        object_mask_box=maybe(lambda: pixels(4)),
        wholebody_keypoints=maybe(lambda: floats(133, 3)),
        openpose_keypoints=maybe(lambda: floats(25, 3)),
        human=maybe(lambda: Human(floats(10), floats(21, 3), floats(15, 3), floats(15, 3))),
        jaw_pose=maybe(lambda: floats(3)),
        expression=maybe(lambda: floats(10)),
        body_box=maybe(lambda: floats(4)),
        camera=camera,
        focal=camera.focal if camera else maybe(lambda: floats(2)),
        principal_point=camera.principal_point if camera else maybe(lambda: floats(2)),
        object_pose=maybe(lambda: ObjectPose(floats(3, 3), floats(3), float(np.float32(random.uniform(1, 2))), angle)),
        object_pose_success=bool(random.random() < 0.5),
        body_keypoints=maybe(lambda: holes(22, 2)),
        object_keypoints=maybe(lambda: holes(int(random.integers(0, 15)), 2)),
        object_correspondences=None if grid is None else floats(*grid, 3),
        object_correspondences_box=None if grid is None else floats(4),
        object_correspondences_weights=None if grid is None else maybe(lambda: floats(*grid, 2)),
        human_occlusion=maybe(lambda: random.random(50) < 0.5),
        object_occlusion=maybe(lambda: random.random(int(random.integers(0, 30))) < 0.5),
        gender=str(random.choice(["neutral", "male", "female"])),
    )
