"""People posed with objects: wishes drawn, solved by least squares on the skeleton, and checked on the surface."""
