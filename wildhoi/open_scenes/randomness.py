"""Random numbers by name: what is drawn for one thing depends on nothing that is drawn for another."""

from hashlib import sha256

import numpy as np


def generator(*names: str | int) -> np.random.Generator:
    """A generator for what is named, such as (seed, scene id, "light"); the same names give the same numbers.

    Philox keyed by the SHA-256 of the names, so that scenes, retries and the order of work do not touch each other.
    """
    digest = sha256("\x1f".join(map(str, names)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
