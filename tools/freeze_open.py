"""Solve the test scenes of the open set, which ship so that every machine has the same truth.

Usage: python -m tools.freeze_open. A frozen version is never solved again: to change it, make a new version.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from wildhoi.engine import map_shards
from wildhoi.errors import InputError
from wildhoi.open_scenes.plan import CHUNK, Chunk, solve_chunk, stored_scenes
from wildhoi.open_scenes.scene_files import read_scenes, write_scenes
from wildhoi.open_scenes.version import load_version

WORKERS = 2


def freeze(name: str, work: Path) -> None:
    """Solve the test scenes of an object and write them where they ship from."""
    version, out = load_version(), stored_scenes(name)
    if out.exists():
        raise InputError(f"{out}: is frozen; a change of the scenes is a new version of the set")
    names = [f"{name}-test-{number:05}" for number in range(version.test)]
    pieces = [tuple(names[start : start + CHUNK]) for start in range(0, len(names), CHUNK)]
    chunks = {f"{number}.parquet": Chunk(name, piece, version.seed, (), "cpu") for number, piece in enumerate(pieces)}
    files = [read_scenes(path) for path in map_shards(solve_chunk, chunks, work, workers=WORKERS)]
    scenes = [scene for file in files for scene in file.scenes]
    if [scene.scene_id for scene in scenes] != names:
        raise InputError(f"{name}: {len(names) - len(scenes)} scenes never held; mend its interactions")
    out.parent.mkdir(exist_ok=True)
    write_scenes(out, scenes, [entry for file in files for entry in file.redrawn])


def main() -> None:
    """Freeze every object of the version."""
    for name in load_version().objects:
        with TemporaryDirectory() as work:
            freeze(name, Path(work))


if __name__ == "__main__":
    main()
