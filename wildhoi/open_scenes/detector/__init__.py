"""What detectors and estimators would say of a scene's picture: keypoints, masks, correspondences, body and object."""
