"""Which images a run is about, and in which batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wildhoi.dataset import DataFolder
from wildhoi.dataset.stored import check_schema
from wildhoi.errors import InputError
from wildhoi.files import canonical_json, sha256_text
from wildhoi.running.options import RunOptions
from wildhoi.submission.table import IMAGE_ID

NAMES = ("image_id", "object", "gender")


@dataclass(frozen=True)
class Batch:
    """Images of one object and one gender, by id."""

    object: str
    gender: str
    ids: tuple[str, ...]


def plan_batches(data: DataFolder, options: RunOptions) -> dict[str, Batch]:
    """Cut the images of a run into batches by key, in the order in which they are to be read.

    Raises:
        InputError: the split or an object has no samples here, a file is damaged, an image is there twice, or no image
            is left.
    """
    batches: list[tuple[str, Batch]] = []
    seen: dict[str, str] = {}
    for name in _objects(data, options):
        genders = _images(data, options.split, name)
        for image_id in genders:
            if image_id in seen:
                raise InputError(f"{data.path}: image {image_id!r} is a sample of {seen[image_id]} and of {name}")
        seen |= dict.fromkeys(genders, name)
        batches += _cut(name, {image_id: genders[image_id] for image_id in _chosen(list(genders), options)}, options)
    if not batches:
        raise InputError(f"--shard {options.shard[0]}/{options.shard[1]}: no image is left; want fewer shards")
    return dict(batches)


def _objects(data: DataFolder, options: RunOptions) -> list[str]:
    files = data.files("samples", options.split, options.objects or None)
    return sorted({file.parent.name for file in files})


def _chosen(ids: Sequence[str], options: RunOptions) -> list[str]:
    index, count = options.shard
    return sorted(ids)[: options.limit][index - 1 :: count]


def _cut(name: str, genders: Mapping[str, str], options: RunOptions) -> list[tuple[str, Batch]]:
    """The batches of an object; by their first image, so that a file is read on rather than kept."""
    found = []
    for gender in sorted(set(genders.values())):
        ids = [image_id for image_id in genders if genders[image_id] == gender]
        for number, first in enumerate(range(0, len(ids), options.batch)):
            batch = Batch(name, gender, tuple(ids[first : first + options.batch]))
            found.append((f"{name}-{gender}-{number:03d}", batch))
    return sorted(found, key=lambda item: item[1].ids[0])


def _images(data: DataFolder, split: str, name: str) -> dict[str, str]:
    """The images of an object and the genders of their bodies, read without their pictures."""
    found: dict[str, str] = {}
    for path in data.files("samples", split, [name]):
        for image_id, thing, gender in _rows(path):
            if thing != name:
                raise InputError(f"{path}: image {image_id!r} is one of {thing!r}, want {name}; convert the data again")
            if image_id in found:
                raise InputError(f"{path}: image {image_id!r} is there twice; convert the data again")
            if not IMAGE_ID.fullmatch(image_id or ""):
                raise InputError(
                    f"{path}: {image_id!r} is no image id; want 1 to 200 letters, digits and _ - . : / @ +"
                )
            found[image_id] = gender
    return found


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    try:
        check_schema(str(path), pq.read_schema(path))
        table = pq.read_table(path, columns=list(NAMES), partitioning=None)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: cannot be read ({reason}); `wildhoi data verify` says which file is damaged"
        ) from None
    yield from zip(*(table.column(name).to_pylist() for name in NAMES), strict=True)


def samples_digest(data: DataFolder, split: str, objects: Sequence[str]) -> str:
    """The name of the recorded content of the samples of some objects; of nothing where it was not recorded."""
    files = {
        name: value
        for name, value in data.checksums.items()
        if any(fnmatch(name, f"samples/{thing}/{split}-*.parquet") for thing in objects)
    }
    return sha256_text(canonical_json(files))
