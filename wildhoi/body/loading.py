"""Finding body files and making models of them."""

import os
from functools import lru_cache
from pathlib import Path

import torch

from wildhoi.body import open_body
from wildhoi.body.conversion import read_pickle
from wildhoi.body.layout import KINDS
from wildhoi.body.model import BodyModel
from wildhoi.body.reading import check, read_arrays, read_npz
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import sha256_file
from wildhoi.schema import GENDERS, BodyKind

FOLDER_VARIABLE = "WILDHOI_BODY_MODELS"
LICENCES = {"smplx": "https://smpl-x.is.tue.mpg.de", "smplh": "https://mano.is.tue.mpg.de"}


def load_body(
    kind: str,
    *,
    gender: str = "neutral",
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
    flat_hand_mean: bool | None = None,
    folder: Path | None = None,
) -> BodyModel:
    """Load a body model, once per process and set of arguments.

    Args:
        kind: "open" (ships, needs no licence), "smplx" or "smplh".
        gender: neutral, male or female; the open body is one for all.
        dtype: of every tensor, float32 or float64.
        device: where the model lives.
        flat_hand_mean: True if hand poses are full rotations, False if they are relative to the file's mean hand.
            Default: False for SMPL-X and the open body, True for SMPL-H, whose BEHAVE fits are full.
        folder: of the licensed files; default the folder that WILDHOI_BODY_MODELS names.

    Raises:
        InputError: an unknown kind or gender, or a damaged file.
        MissingAssetError: the licensed file is not there.
    """
    known = next((k for k in KINDS if k == kind), None)
    if known is None:
        raise InputError(f"body model `{kind}` is unknown, wanted {', '.join(KINDS)}")
    if gender not in GENDERS:
        raise InputError(f"body gender `{gender}` is unknown, wanted {', '.join(GENDERS)}")
    if known == "open":
        path, gender = open_body.PATH, "neutral"
    else:
        path = _find(known, gender, folder)
    flat = known == "smplh" if flat_hand_mean is None else flat_hand_mean
    return _load(known, gender, path, flat, dtype, torch.device(device))


@lru_cache(maxsize=8)
def _load(
    kind: BodyKind, gender: str, path: Path, flat_hand_mean: bool, dtype: torch.dtype, device: torch.device
) -> BodyModel:
    if kind == "open":
        arrays = open_body.expand(read_arrays(path))
        check(arrays, kind, path)
    elif path.suffix.lower() == ".pkl":
        arrays = read_pickle(path, kind)
    else:
        arrays = read_npz(path, kind)
    return BodyModel(
        arrays, kind=kind, gender=gender, sha256=sha256_file(path), flat_hand_mean=flat_hand_mean, dtype=dtype,
        device=device,
    )  # fmt: skip


def _find(kind: BodyKind, gender: str, folder: Path | None) -> Path:
    """Find a licensed file, upper and lower case alike, an .npz before a .pkl."""
    named = os.environ.get(FOLDER_VARIABLE) if folder is None else folder
    stem = f"{kind}_{gender}"
    candidates = [
        pattern + suffix
        for suffix in (".npz", ".pkl")
        for pattern in (f"{kind}/{stem}", stem, f"{kind}/{gender}/model")
    ]
    found = [] if named is None else [p for c in candidates if (p := _ignoring_case(Path(named), c)) is not None]
    if found:
        return found[0]
    file = f"{kind}/{kind.upper()}_{gender.upper()}.npz"
    where = f"not in {named}" if named is not None else f"the variable {FOLDER_VARIABLE} names no folder to look in"
    raise MissingAssetError(
        f"body model file {file} is missing: {where}; get it under its licence from {LICENCES[kind]} and put it there, "
        "or use `--body open`, which needs no licence"
    )


def find_regressor(name: str, folder: Path | None = None) -> Path:
    """Find a regressor of keypoints in the folder of licensed files, beside the models or among SMPL-X's.

    Raises:
        MissingAssetError: it is not there.
    """
    named = os.environ.get(FOLDER_VARIABLE) if folder is None else folder
    places = [] if named is None else [_ignoring_case(Path(named), place) for place in (name, f"smplx/{name}")]
    found = next((place for place in places if place is not None), None)
    if found is None:
        where = f"not in {named}" if named is not None else f"the variable {FOLDER_VARIABLE} names no folder to look in"
        raise MissingAssetError(
            f"{name} is missing: {where}; copy it from the authors' release (data/smpl), or set keypoints=table"
        )
    return found


def _ignoring_case(folder: Path, relative: str) -> Path | None:
    """Walk down a relative path, matching names case-insensitively."""
    path = folder
    for name in relative.split("/"):
        if not path.is_dir():
            return None
        matches = sorted(entry for entry in path.iterdir() if entry.name.casefold() == name.casefold())
        if not matches:
            return None
        path = matches[0]
    return path if path.is_file() else None
