"""Every parser of foreign bytes: how it is called, and valid files to start from.

A target passes where the parser returns or refuses the file by an error of the product's family; see `fuzz.guard`.
"""

from pathlib import Path

from fuzz import bad, targets_data, targets_learned, targets_raw, targets_scores
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (targets_data, targets_raw, targets_learned, targets_scores)
    for target in module.TARGETS
}
BAD = {name: Target(name, "json", parse, lambda: [b"[1]", b"c"]) for name, parse in bad.PARSERS.items()}
CORPUS = Path(__file__).parent / "corpus"


def find_target(name: str) -> Target:
    """A target by its name; the bad ones are there for the tests of the harness."""
    return {**TARGETS, **BAD}[name]


def corpus(name: str) -> list[Path]:
    """The inputs of a target that were once found to fail, or are worth to be tried for other reasons."""
    return sorted((CORPUS / name).iterdir()) if (CORPUS / name).is_dir() else []
