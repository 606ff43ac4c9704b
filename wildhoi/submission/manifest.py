"""`submission.yaml`: who made the reconstructions, from what, on which data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from types import NoneType
from typing import Any

import yaml

from wildhoi.dataset import BODY_MODELS, SPLITS
from wildhoi.errors import one_line, shown
from wildhoi.files import write_text
from wildhoi.submission.defects import Defect

SPEC = 1
MAX_BYTES = 2**17
"""A hundred times what a long manifest has; PyYAML reads a megabyte in ten seconds."""
# beside its own error, what PyYAML raises for a tag that does not suit its value: !!int '', !!bool x, !!timestamp x
DAMAGED = (OSError, yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError)
DEEPEST = 32
"""Levels of tables and lists in settings: nobody writes ten, and at some hundreds YAML itself gives up."""
LARGEST = 2**63
PLAIN = (str, int, float, NoneType, date)
HINT = "`wildhoi submission init` writes a valid submission.yaml to start from"


@dataclass(frozen=True)
class Manifest:
    """The declared facts of a submission; `inputs` names what the method was given beyond the image.

    `revision` is the data set's (`wildhoi evaluate` compares it), "any" where it is not known.
    """

    method: str
    dataset: str
    split: str = "test"
    revision: str = "any"
    body_model: str = "smplx"
    inputs: tuple[str, ...] = ()
    supervision: str = "unknown"
    authors: str = ""
    paper: str = ""
    code: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    spec: int = SPEC


CHOICES: dict[str, tuple[Any, ...]] = {"spec": (SPEC,), "split": SPLITS, "body_model": BODY_MODELS}
REQUIRED = ("spec", "method", "dataset", "split", "body_model")
TYPES: dict[str, type] = {"spec": int, "inputs": list, "settings": dict, "environment": dict}
TYPE_NAMES = {int: "a whole number", str: "text, in quotes", dict: "a mapping", list: "a list"}


class _Loader(yaml.SafeLoader):
    """The safe loader without aliases: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name); write the value out")
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """The safe dumper without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def read_manifest(path: Path) -> tuple[Manifest | None, list[Defect]]:
    """Parse and check `submission.yaml`; every defect at once, the manifest None where there is an error."""
    try:
        if path.stat().st_size > MAX_BYTES:
            found = f"{path.stat().st_size} bytes"
            return None, [Defect("manifest-size", found, f"at most {MAX_BYTES} bytes", HINT)]
        content = yaml.load(path.read_bytes(), _Loader)
    except FileNotFoundError:
        return None, [Defect("manifest-missing", "no submission.yaml", "one beside predictions.parquet", HINT)]
    except DAMAGED as error:
        reason = one_line(error, 200)
        return None, [Defect("manifest-unreadable", reason, "a YAML file", HINT)]
    if not isinstance(content, dict):
        return None, [Defect("manifest-unreadable", type(content).__name__, "a mapping of fields", HINT)]
    return _parse(content)


def _parse(content: dict[Any, Any]) -> tuple[Manifest | None, list[Defect]]:
    names = [f.name for f in fields(Manifest)]
    defects = [
        Defect(
            "manifest-extra-field",
            shown(key),
            "a known field",
            f"ignored; known are {', '.join(names)}",
            severity="warning",
        )
        for key in content
        if key not in names
    ]
    values: dict[str, Any] = {name: content[name] for name in names if content.get(name) is not None}
    defects += [
        Defect("manifest-field-missing", f"no {name}", name, HINT)
        for name in REQUIRED
        if values.get(name) in (None, "")
    ]
    for name, value in values.items():
        wanted = TYPES.get(name, str)
        if isinstance(value, bool) or not isinstance(value, wanted):
            defects.append(Defect("manifest-field-type", f"{name}: {type(value).__name__}", TYPE_NAMES[wanted], HINT))
        elif name in CHOICES and value not in CHOICES[name]:
            allowed = " or ".join(map(str, CHOICES[name]))
            defects.append(Defect("manifest-field-value", f"{name}: {shown(value)}", allowed, HINT))
        elif name == "inputs" and not all(isinstance(item, str) for item in values["inputs"]):
            defects.append(
                Defect("manifest-field-type", "inputs with something that is no text", "a list of names", HINT)
            )
        elif isinstance(value, dict) and (odd := _odd(value)) is not None:
            wanted_values = "texts, numbers, booleans, dates, lists and mappings"
            defects.append(
                Defect("manifest-field-value", f"{name} with {odd}", wanted_values, "write it as one of them")
            )
    if any(defect.severity == "error" for defect in defects):
        return None, defects
    return Manifest(**{**values, "inputs": tuple(values.get("inputs", ()))}), defects


def _odd(value: object, depth: int = 0) -> str | None:
    """What is in a value that is no plain data, in words: YAML's tags make anything of a text."""
    if depth > DEEPEST:
        return f"more than {DEEPEST} levels"
    if isinstance(value, dict | list):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return next((odd for part in parts if (odd := _odd(part, depth + 1)) is not None), None)
    if isinstance(value, int) and abs(value) >= LARGEST:
        return "a whole number of more than 64 bits"
    return None if isinstance(value, PLAIN) else f"a {type(value).__name__}"


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write `submission.yaml`, fields in their documented order."""
    content = {f.name: getattr(manifest, f.name) for f in fields(manifest)}
    content = {"spec": content.pop("spec"), **content, "inputs": list(manifest.inputs)}
    plain = {key: dict(value) if isinstance(value, Mapping) else value for key, value in content.items()}
    write_text(path, yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
