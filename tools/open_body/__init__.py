"""Builder of the open body: the CC0 MakeHuman figure in the 55-joint, 10,475-vertex layout of SMPL-X."""
