"""Groups in a file: an .npz of three arrays and a JSON text, without pickle; taken for hostile until parsed."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from baselines.grouping.groups import Groups, GroupSettings
from wildhoi.errors import InputError
from wildhoi.files import atomic_path, canonical_json
from wildhoi.npz import read_npz

FORMAT = "wildhoi-groups-1"
LARGEST_BYTES = 2**28
"""Of all arrays, unpacked: two million views with 16 neighbours each."""
LARGEST_FACTS = 2**16
"""Characters of the settings and the provenance, which have hundreds."""
KINDS = {"view_ids": ("U", 1), "neighbours": ("i", 2), "distances": ("f", 2), "facts": ("U", 0)}
"""The arrays of a file: kind of numbers and number of axes."""
MEND = "make it again with `wildhoi group`"


def write_groups(path: Path, groups: Groups) -> None:
    """Write groups with their settings and provenance; complete or not at all.

    Arrays: view_ids (n), neighbours (n, k) int32, distances (n, k) float32 and facts, a JSON text.
    """
    facts = {
        "format": FORMAT,
        "object": groups.object,
        "settings": groups.settings.to_dict(),
        "provenance": dict(groups.provenance),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            allow_pickle=False,
            view_ids=np.array(groups.view_ids, dtype=np.str_),
            neighbours=groups.neighbours.astype(np.int32),
            distances=groups.distances.astype(np.float32),
            facts=np.array(canonical_json(facts)),
        )


def read_groups(path: Path) -> Groups:
    """Read groups.

    Raises:
        InputError: the file is absent, damaged or no file of groups, or its arrays do not belong together.
    """
    path = Path(path)
    arrays = _arrays(path)
    facts = _facts(path, str(arrays["facts"]))
    ids = tuple(str(name) for name in arrays["view_ids"])
    shapes, wanted = [arrays[name].shape for name in ("neighbours", "distances")], (len(ids), facts["settings"].k)
    if shapes != [wanted, wanted]:
        raise InputError(f"{path}: neighbours and distances: got shapes {shapes}, want {wanted} both; {MEND}")
    groups = Groups(
        facts["object"],
        ids,
        arrays["neighbours"].astype(np.int64),
        arrays["distances"].astype(np.float32),
        facts["settings"],
        facts["provenance"],
    )
    wrong = _wrong(groups)
    if wrong:
        raise InputError(f"{path}: {wrong}; {MEND}")
    return groups


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        arrays = read_npz(path, tuple(KINDS), max_bytes=LARGEST_BYTES)
    except InputError as error:
        raise InputError(f"{error}; {MEND}") from None
    for name, (kind, axes) in KINDS.items():
        if arrays[name].dtype.kind != kind or arrays[name].ndim != axes:
            got = f"{arrays[name].dtype} with {arrays[name].ndim} axes"
            raise InputError(f"{path}: array {name!r} is {got}, want kind {kind!r} with {axes}; {MEND}")
    return arrays


def _facts(path: Path, text: str) -> dict[str, Any]:
    """Object, settings and provenance of a file."""
    try:
        facts = json.loads(text) if len(text) <= LARGEST_FACTS else None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        got = facts.get("format") if isinstance(facts, dict) else "no JSON object"
        raise InputError(f"{path}: facts: got {str(got)[:60]!r}, want the format {FORMAT!r}; {MEND}")
    name, settings, provenance = (facts.get(key) for key in ("object", "settings", "provenance"))
    texts = isinstance(provenance, dict) and all(isinstance(value, str) for value in provenance.values())
    if not isinstance(name, str) or not isinstance(settings, dict) or not texts:
        raise InputError(f"{path}: facts: want an object's name, a table of settings and one of texts; {MEND}")
    try:
        return {"object": name, "settings": GroupSettings.of(settings), "provenance": provenance}
    except InputError as error:
        raise InputError(f"{path}: {error}; {MEND}") from None


def _wrong(groups: Groups) -> str | None:
    """What does not belong together, None where all does."""
    count, near, far = len(groups), groups.neighbours, groups.distances
    if len(set(groups.view_ids)) != count:
        return "view_ids: one is there twice"
    if (near < -1).any() or (near >= count).any():
        return f"neighbours: got {near.min()} to {near.max()}, want places from 0 to {count - 1}, or -1"
    if (near == np.arange(count)[:, None]).any():
        return "neighbours: a view is a neighbour of itself"
    ordered = np.sort(near, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        return "neighbours: a view has one twice"
    if np.isnan(far).any() or (far < 0).any() or not np.array_equal(np.isinf(far), near < 0):
        return "distances: want metres from 0, infinite exactly where there is no neighbour"
    return None
