"""The pages of the site: where each stands, and the templates that they are made with."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evaluation.leaderboard.sheet import Sheet, header, origin
from evaluation.leaderboard.text import clean, number, short
from evaluation.site.details import image_facts, method_facts
from evaluation.site.drawing import input_name, names_of
from evaluation.site.front import table_facts
from evaluation.site.gallery import Part
from wildhoi import __version__

STATIC = ("style.css", "site.js")


def render_pages(parts: Sequence[Part], sheets: Sequence[Sheet], notes: Sequence[str]) -> dict[str, str]:
    """Every page by its path in the site.

    Args:
        parts: sections, in the order of the front page.
        sheets: tables of ablations.
        notes: what stands in no table.
    """
    facts = {"parts": parts, "sheets": sheets, "version": __version__}
    made = {"index.html": _render("index.html", "", notes=notes, tables=[table_facts(part) for part in parts], **facts)}
    if sheets:
        made["ablations.html"] = _render("ablations.html", "", **facts)
    for part in parts:
        for result in part.section.measured:
            page = method_facts(part, result)
            made[f"methods/{result.slug}.html"] = _render("method.html", "../", page=page, **facts)
        if part.gallery.shots:
            folder = f"images/{part.section.slug}"
            made[f"{folder}/index.html"] = _render("gallery.html", "../../", part=part, **facts)
            for page in image_facts(part):
                made[f"{folder}/{page['shot'].slug}.html"] = _render("image.html", "../../", page=page, **facts)
    return made


def static_files() -> dict[str, str]:
    """The stylesheet and the script, by their path in the site."""
    folder = files("evaluation.site") / "static"
    return {name: (folder / name).read_text(encoding="utf-8") for name in STATIC}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("evaluation.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clean": clean, "short": short, "header": header, "number": number}
    environment.globals |= {"input_name": input_name, "names_of": names_of, "origin": origin}
    return environment


def _render(template: str, root: str, **values: Any) -> str:
    return _environment().get_template(template).render(root=root, **values) + "\n"
