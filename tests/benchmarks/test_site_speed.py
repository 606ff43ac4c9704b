"""How long a site of twenty methods takes, from nothing and again, and how large its first page is."""

import os
from pathlib import Path
from time import perf_counter

import site_made

from evaluation.site import SiteOptions, build_site

METHODS = 20
WORKERS = os.cpu_count() or 1


def test_a_site_of_twenty_methods(benchmark, tmp_path, say):
    """Ten images of each object; the rows are the committed ones, each a few times with its predictions shuffled."""
    rows, out = tmp_path / "rows", tmp_path / "site"
    kinds = sorted(path.name for path in site_made.ROWS.iterdir())
    for number in range(METHODS):
        place = site_made.copy_row(rows, kinds[number % len(kinds)], f"row-{number}")
        site_made.reorder(place, number)
        site_made.rename(place, f"method {number}")
    data = os.environ.get("WILDHOI_OPEN")
    options = SiteOptions(workers=WORKERS, data=() if data is None else (Path(data),))
    site = benchmark.pedantic(lambda: build_site(rows, out, options), rounds=1)
    first = sum((out / name).stat().st_size for name in ("index.html", "style.css", "site.js"))
    whole = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    say(f"{WORKERS} processes: {site.pages} pages, {site.pictures} pictures and scenes, {whole / 2**20:.0f} MiB")
    say(f"first page {first / 1000:.0f} kB with stylesheet and script")
    start = perf_counter()
    build_site(rows, out, options)
    say(f"built again, nothing new: {perf_counter() - start:.1f} s")
    site_made.reorder(rows / "row-0", 99)
    start = perf_counter()
    build_site(rows, out, options)
    say(f"with one method that is new: {perf_counter() - start:.1f} s")
