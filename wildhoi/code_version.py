"""A name for the code that computed something: two scores of one name came from the same source files."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from wildhoi.files import canonical_json, sha256_file, sha256_text

PACKAGES = ("wildhoi", "evaluation")
"""Those that scores are computed by."""
KINDS = {".py", ".toml"}


@cache
def code_version() -> str:
    """Hash the source files and tables of the packages that score; hexadecimal."""
    return sha256_text(canonical_json({name: sha256_file(path) for name, path in _sources().items()}))


def _sources() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None and spec.submodule_search_locations
        root = Path(spec.submodule_search_locations[0])
        paths = (path for path in root.rglob("*") if path.suffix in KINDS)
        found |= {f"{package}/{path.relative_to(root).as_posix()}": path for path in sorted(paths)}
    return found
