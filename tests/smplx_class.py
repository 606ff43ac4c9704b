"""The body as the `smplx` class poses it, for comparison."""


def by_class(model, betas, body_pose, left, right):
    """Vertices and joints as the smplx class poses them, about the pelvis."""
    zero = betas.new_zeros(len(betas), 3)
    face = {"jaw_pose": zero, "leye_pose": zero, "reye_pose": zero, "expression": betas.new_zeros(len(betas), 10)}
    output = model.module(
        betas=betas,
        global_orient=zero,
        body_pose=body_pose.flatten(1),
        left_hand_pose=left.flatten(1),
        right_hand_pose=right.flatten(1),
        **({} if model.kind == "smplh" else face),
    )
    pelvis = output.joints[:, :1]
    return output.vertices - pelvis, output.joints[:, : model.n_joints] - pelvis
