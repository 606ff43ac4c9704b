"""The BEHAVE release, brought into a data folder: bodies and objects of four cameras in the SMPL frame.

Two tracks, which never share a table, tell where a sample's object correspondences come from:

- `given`: a file of initial estimates has them (points x3d, pixels x2d, weights w2d of a network) or object poses; an
  image that the file lacks has none. The object's pose is the file's, or solved from the correspondences.
- `gt-rendered`: nothing estimated the object, so the correspondences are drawn from the annotated pose. This grants
  an input that no image gives, and exactly that: weights are 1 on the object and 0 elsewhere, the grid's box is that
  of the silhouette within the picture. The object's pose is solved from them like from a network's, in the camera
  frame, and brought into the SMPL frame by the estimated body. Without an estimated body there is no such frame, and
  the sample has no object pose: the annotated body would be truth.

In both, masks of the object are the release's own, which it rendered from its fits, and boxes and crops follow them.
"""

from wildhoi.convert.behave_release.plan import plan_behave as plan_behave
