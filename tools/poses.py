"""A few poses for pictures of the body."""

LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE = 0, 1, 3, 4
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW = 15, 16, 17, 18
RIGHT_WRIST = 21
Pose = dict[int, tuple[float, float, float]]

# rotations in degrees about the axes of the T-pose, by row of body_pose
ARMS_DOWN: Pose = {LEFT_SHOULDER: (0, 0, -75), RIGHT_SHOULDER: (0, 0, 75)}
SEATED: Pose = {LEFT_HIP: (-85, 0, 10), RIGHT_HIP: (-85, 0, -10), LEFT_KNEE: (85, 0, 0), RIGHT_KNEE: (85, 0, 0)}
CROUCHED: Pose = {LEFT_HIP: (-40, 0, 12), RIGHT_HIP: (-40, 0, -12), LEFT_KNEE: (55, 0, 0), RIGHT_KNEE: (55, 0, 0)}
SWING: Pose = {
    LEFT_SHOULDER: (0, -95, -30),
    RIGHT_SHOULDER: (0, 20, 30),
    LEFT_ELBOW: (0, -20, 0),
    RIGHT_ELBOW: (0, 90, 0),
}
