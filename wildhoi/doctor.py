"""What is installed, what is found, what is missing and where to get it."""

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from wildhoi import __version__
from wildhoi.errors import WildhoiError
from wildhoi.schema import BodyKind

PACKAGES = ("torch", "numpy", "scipy", "pyarrow", "smplx", "pykdtree", "libigl", "datasets", "huggingface_hub")
BODIES: tuple[tuple[BodyKind, str], ...] = (
    ("open", "neutral"),
    ("smplx", "neutral"),
    ("smplh", "male"),
    ("smplh", "female"),
)


@dataclass(frozen=True)
class Finding:
    """One line of the report; `status` is ok, optional (absent, and not needed for open data) or missing."""

    what: str
    status: str
    detail: str
    mend: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look at the installation, the device, the body models and the data sets."""
    return [
        Finding("wildhoi", "ok", f"{__version__} on Python {platform.python_version()}, {platform.system()}"),
        *(_package(name) for name in PACKAGES),
        _device(),
        *body_models(),
        *_data(),
    ]


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", "not installed", "pip install wildhoi")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Finding("device", "ok", f"{names}; scores are canonical on the CPU, `--device cuda` is marked")
    return Finding("device", "ok", f"CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads; no GPU is needed")


def body_models() -> list[Finding]:
    """Look for every body model that data sets use."""
    return [_body(kind, gender) for kind, gender in BODIES]


def _body(kind: BodyKind, gender: str) -> Finding:
    from wildhoi.body import load_body

    what = "body: open" if kind == "open" else f"body: {kind} {gender}"
    try:
        model = load_body(kind, gender=gender)
    except WildhoiError as error:
        return Finding(what, "optional", "not found" if error.exit_code == 3 else "unusable", str(error))
    return Finding(what, "ok", f"{model.n_vertices:,} vertices, {model.n_joints} joints, sha256 {model.sha256[:12]}")


def _data() -> list[Finding]:
    from wildhoi.dataset import SHIPPED, find_data

    root = os.environ.get("WILDHOI_DATA")
    findings = []
    for name in (*SHIPPED, "wildhoi", "behave"):
        try:
            data = find_data(name)
            findings.append(Finding(f"data: {name}", "ok", f"{data.path} @ {data.revision}"))
        except WildhoiError as error:
            findings.append(Finding(f"data: {name}", "optional", f"$WILDHOI_DATA is {root or 'not set'}", str(error)))
    return findings
