"""The card of a data folder: `README.md` with the head that the Hub reads, made of counts, columns and known facts."""

import shutil
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from wildhoi.convert.conversion_report import ConversionReport
from wildhoi.convert.parts import KINDS, SCHEMAS, Kind
from wildhoi.dataset.folder import SPLITS
from wildhoi.dataset.samples import dtype_name
from wildhoi.errors import InputError
from wildhoi.files import write_text
from wildhoi.layout import CARD, IMAGES

ASSETS = Path(__file__).parents[1] / "assets"
PICTURE = "frames.png"
FILES = {
    "*.ply": "the template (PLY, metres)",
    "keypoints.json": "`keypoints.json` (each keypoint is the mean of its vertices)",
    "contact.json": "`contact.json` (parts that people touch)",
    "symmetries.json": "`symmetries.json` (as the challenge gives them)",
    "info.json": "`info.json` (extents, diameter)",
}
SUFFIXES: Mapping[Kind, str] = {"samples": "", "annotations": "-annotations", "layouts": "-layouts"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(name: str, report: ConversionReport, out: Path) -> None:
    """Write the card of a finished data folder, and the picture in it."""
    shutil.copyfile(ASSETS / PICTURE, out / PICTURE)
    write_text(out / CARD, render_card(name, report, out))


def render_card(name: str, report: ConversionReport, out: Path) -> str:
    """The card of a data folder.

    Args:
        name: of the data set; what is known of it stands in `cards.toml`.
        report: of its conversion.
        out: the folder, whose Parquet files are counted and listed.

    Raises:
        InputError: nothing is known of a data set of that name.
    """
    import jinja2

    template = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True
    ).from_string((ASSETS / "dataset_card.md").read_text())
    splits = [split for split in SPLITS if any(out.glob(f"*/*/{split}-*.parquet"))]
    kinds = [kind for kind in KINDS if any(out.glob(f"{kind}/*/*.parquet"))]
    main = kinds[0] if kinds else KINDS[0]
    rows = max(sum(report.rows(kind, split) for split in SPLITS) for kind in IMAGES)
    return template.render(
        name=name,
        facts=_facts(name),
        track=report.track,
        size=next((label for limit, label in SIZES if rows < limit), "1M<n<10M"),
        configs=_configs(out, list(report.objects)),
        infos=_infos(report, out),
        splits=splits,
        counts=[_counts(thing, report, splits, main) for thing in report.objects],
        total=_counts(None, report, splits, main),
        **{kind: _columns(kind) if kind in kinds else [] for kind in KINDS},
        mini=[f"`mini{SUFFIXES[kind]}`" for kind in kinds],
        empty=_empty(report),
        files=[meaning for pattern, meaning in FILES.items() if any(out.glob(f"objects/*/{pattern}"))],
        lists=sorted(f"`{path.name}`" for path in out.glob("lists/*.json")),
        dropped=report.reasons("dropped"),
        incomplete=report.reasons("incomplete"),
        redrawn=report.reasons("redrawn"),
    )


@cache
def _table(file: str) -> Mapping[str, Any]:
    return tomllib.loads((ASSETS / file).read_text())


def _facts(name: str) -> Mapping[str, Any]:
    cards = _table("cards.toml")
    facts = cards.get(name, cards.get(name.split("-")[0]))
    if facts is None:
        raise InputError(f"no card is known of data set {name!r}; there are those of {', '.join(cards)}")
    return dict(facts)


def _configs(out: Path, objects: list[str]) -> list[dict[str, Any]]:
    """The configs that have files: all, mini and every object, inputs, truth and layouts apart."""
    folders = {"all": "{kind}/*", "mini": "mini/{kind}/*", **{name: f"{{kind}}/{name}" for name in objects}}
    configs: list[dict[str, Any]] = []
    for config, folder in folders.items():
        for kind, suffix in SUFFIXES.items():
            patterns = {split: f"{folder.format(kind=kind)}/{split}-*.parquet" for split in SPLITS}
            files = {split: pattern for split, pattern in patterns.items() if any(out.glob(pattern))}
            if files:
                configs.append({"name": config + suffix, "files": files, "default": not configs})
    return configs


def _infos(report: ConversionReport, out: Path) -> list[dict[str, Any]]:
    """Features and sizes of the configs that hold everything."""
    infos = []
    for kind, suffix in SUFFIXES.items():
        splits = [
            {"name": split, "rows": report.rows(kind, split), "bytes": sum(path.stat().st_size for path in files)}
            for split in SPLITS
            if (files := list(out.glob(f"{kind}/*/{split}-*.parquet")))
        ]
        if splits:
            size = sum(path.stat().st_size for path in out.glob(f"{kind}/*/*.parquet"))
            features = _features(SCHEMAS[kind])
            infos.append({"name": "all" + suffix, "features": features, "splits": splits, "bytes": size})
    return infos


def _features(schema: pa.Schema) -> list[dict[str, Any]]:
    """A schema in the words of a card's head."""
    return [{"name": field.name, **_feature(field.type)} for field in schema]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"dtype": "image"}
    if pa.types.is_fixed_size_list(kind):
        return {**_element(kind.value_type), "length": kind.list_size}
    if pa.types.is_list(kind):
        return _element(kind.value_type)
    return {"dtype": dtype_name(kind)}


def _element(kind: pa.DataType) -> dict[str, Any]:
    return {"list": dtype_name(kind)}


def _empty(report: ConversionReport) -> list[str]:
    """The columns of samples that no row has a value in."""
    filled = {name for entry in report.objects.values() for name in entry.columns}
    return [f"`{name}`" for name in SCHEMAS["samples"].names if name not in filled]


def _counts(thing: str | None, report: ConversionReport, splits: list[str], kind: Kind) -> dict[str, Any]:
    """The numbers of an object, or of all of them."""
    entries = [report.objects[thing]] if thing is not None else list(report.objects.values())
    return {
        "name": thing,
        "splits": [
            {
                "rows": sum(entry.rows(kind, split) for entry in entries),
                "videos": sum(entry.videos(split) for entry in entries),
            }
            for split in splits
        ],
        "annotations": sum(entry.rows("annotations", split) for entry in entries for split in SPLITS),
    }


def _columns(kind: Kind) -> list[dict[str, str]]:
    """What every column of a kind of table means, in the schema's order; a kind may have meanings of its own."""
    known = _table("columns.toml")
    own = known.get(kind, {})
    names = SCHEMAS[kind].names
    return [{"name": name, "shape": "", "unit": "", **known.get(name, {}), **own.get(name, {})} for name in names]
