"""The few rows of every object and split that a data folder has for trying things out."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wildhoi.convert.parts import KINDS, Kind, open_part_writer
from wildhoi.dataset.folder import SPLITS
from wildhoi.files import atomic_path

ROWS = 4  # of each object and split
IDS = {"samples": "image_id", "annotations": "image_id", "layouts": "scene_id"}


def write_mini(out: Path) -> None:
    """Write `mini/`: rows spread evenly over each split, the same images in every table, all views of each scene."""
    for split in SPLITS:
        things = sorted({path.parent.name for path in out.glob(f"*/*/{split}-*.parquet")})
        for thing in things:
            chosen: list[str] = []
            for kind in KINDS:
                files = sorted((out / kind / thing).glob(f"{split}-*.parquet"))
                chosen = chosen or _spread(files, IDS[kind])
                names = chosen + _scenes(out / "mini", thing, split) if kind == "layouts" else chosen
                _write_rows(_table(out / "mini", kind, thing, split), files, names, kind)


def _table(mini: Path, kind: Kind, thing: str, split: str) -> Path:
    return mini / kind / thing / f"{split}-00000-of-00001.parquet"


def _scenes(mini: Path, thing: str, split: str) -> list[str]:
    """The scenes of the chosen images, as their annotations name them; without any, a scene is called as its image."""
    path = _table(mini, "annotations", thing, split)
    return [] if not path.is_file() else pq.read_table(path, columns=["scene_id"])["scene_id"].drop_null().to_pylist()


def _spread(files: list[Path], column: str) -> list[str]:
    """The ids of rows at even distances."""
    ids = [name for file in files for name in pq.read_table(file, columns=[column])[column].to_pylist()]
    return [ids[place] for place in np.unique(np.linspace(0, len(ids) - 1, ROWS).round().astype(int))] if ids else []


def _write_rows(path: Path, files: list[Path], chosen: list[str], kind: Kind) -> None:
    """Write the rows of the chosen images or scenes, as one file; none where there are none."""
    found = [table for file in files for table in _rows(file, chosen, IDS[kind])]
    if found:
        with atomic_path(path) as temporary, open_part_writer(kind, temporary) as writer:
            writer.write_table(pa.concat_tables(found).combine_chunks())


def _rows(path: Path, chosen: list[str], column: str) -> list[pa.Table]:
    """The rows of the chosen images or scenes; only the row groups that have any are read whole."""
    wanted = pa.array(chosen, pa.string())
    tables = []
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            hit = pc.is_in(file.read_row_group(number, columns=[column])[column], wanted)
            if pc.any(hit).as_py():
                tables.append(file.read_row_group(number).filter(hit))
    return tables
