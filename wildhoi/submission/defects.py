"""What is wrong with a file, all of it at once."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wildhoi.errors import InputError, one_line


@dataclass(frozen=True)
class Defect:
    """One thing wrong: where (row, image_id), what was found, what is expected, and how to mend it.

    An error makes the file invalid; a warning is said and the file is used.
    """

    code: str
    found: str
    expected: str
    hint: str
    row: int | None = None
    image_id: str | None = None
    severity: str = "error"

    def __str__(self) -> str:
        place = "" if self.row is None else f"row {self.row}, "
        place += "" if self.image_id is None else f"image_id {self.image_id!r}, "
        return one_line(f"{place}{self.code}: got {self.found}, want {self.expected}; {self.hint}")

    def to_dict(self) -> dict[str, Any]:
        """The defect as plain data."""
        return asdict(self)


class DefectError(InputError):
    """A file that cannot be used, with every defect found in it."""

    def __init__(self, source: str, defects: Sequence[Defect]) -> None:
        """Name the file, show the first error and count the rest."""
        self.defects = tuple(defects)
        found = errors(defects)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        super().__init__(f"{source}: {found[0]}{more}")


def errors(defects: Iterable[Defect]) -> list[Defect]:
    """Those that make the file invalid."""
    return [defect for defect in defects if defect.severity == "error"]


def warnings(defects: Iterable[Defect]) -> list[Defect]:
    """Those that are only said."""
    return [defect for defect in defects if defect.severity != "error"]
