"""PLY files, ascii and binary of both byte orders, with any further elements and properties."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise

import numpy as np
from jaxtyping import Float, Int

from wildhoi.errors import InputError

MAX_ELEMENTS = 10_000_000
MAX_HEADER = 64 * 1024
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
INDEX_NAMES = ("vertex_indices", "vertex_index")

Polygons = list[list[int]]
Arrays = tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]


@dataclass(frozen=True)
class Property:
    """A column of an element: a number type, and for lists the type of their length."""

    name: str
    type: str
    count_type: str | None = None


@dataclass
class Element:
    """A table of the file: its name, rows and columns."""

    name: str
    rows: int
    properties: list[Property] = field(default_factory=list)

    @property
    def has_lists(self) -> bool:
        """Whether the rows differ in length."""
        return any(column.count_type for column in self.properties)


def parse_ply(data: bytes, source: str, max_vertices: int, max_faces: int) -> Arrays:
    """Take vertices and triangulated faces from the bytes of a PLY file; no index is checked here.

    Raises:
        InputError: the header is no PLY header, claims more than the limits or the bytes, or the data do not fit it.
    """
    order, elements, body = _parse_header(data, source)
    limits = {"vertex": max_vertices, "face": max_faces}
    for element in elements:
        limit = limits.get(element.name, MAX_ELEMENTS)
        if not 0 <= element.rows <= limit or element.rows > len(body):
            raise InputError(
                f"{source}: header claims {element.rows} of element {element.name}, "
                f"want 0 to {limit} and no more than the {len(body)} bytes of data hold"
            )
    read = _read_ascii if order == "" else _read_binary
    vertices, faces = np.empty((0, 3)), np.empty((0, 3), np.int64)
    try:
        for element, columns in read(body, order, elements):
            if element.name == "vertex":
                with np.errstate(invalid="ignore"):
                    vertices = np.stack([np.asarray(columns[axis], np.float64) for axis in "xyz"], axis=1)
            elif element.name == "face":
                name = next(name for name in INDEX_NAMES if name in columns)
                faces = _triangles(columns[name], max_faces)
    except (KeyError, StopIteration):
        raise InputError(f"{source}: has no x, y, z of the vertices or no vertex_indices of the faces") from None
    except (ValueError, IndexError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{source}: data do not fit the header (cut short?): {reason}") from None
    return vertices, faces


def _parse_header(data: bytes, source: str) -> tuple[str, list[Element], bytes]:
    end = data.find(b"end_header", 0, MAX_HEADER)
    line_end = data.find(b"\n", end)
    if end < 0 or line_end < 0:
        raise InputError(f"{source}: PLY header without an end in its first {MAX_HEADER} bytes")
    order: str | None = None
    elements: list[Element] = []
    for line in data[:end].decode("latin1").splitlines()[1:]:
        words = line.split()
        try:
            if words[:1] == ["format"]:
                order = ORDERS[words[1]]
            elif words[:1] == ["element"]:
                elements.append(Element(words[1], int(words[2])))
            elif words[:2] == ["property", "list"]:
                elements[-1].properties.append(Property(words[4], TYPES[words[3]], TYPES[words[2]]))
            elif words[:1] == ["property"]:
                elements[-1].properties.append(Property(words[2], TYPES[words[1]]))
            elif words and words[0] not in ("comment", "obj_info"):
                raise KeyError
        except (KeyError, IndexError, ValueError):
            raise InputError(f"{source}: PLY header line {line[:60]!a} is not understood") from None
    names = [element.name for element in elements]
    if order is None or names.count("vertex") != 1 or names.count("face") != 1:
        raise InputError(f"{source}: PLY header without format, vertex or face (elements: {', '.join(names)[:80]!a})")
    if any(column.name in INDEX_NAMES and column.type[0] == "f" for e in elements for column in e.properties):
        raise InputError(f"{source}: PLY header gives the faces' vertex indices as floats, want an integer type")
    return order, elements, data[line_end + 1 :]


Columns = dict[str, "np.ndarray | Polygons"]


def _read_ascii(body: bytes, order: str, elements: list[Element]) -> Iterator[tuple[Element, Columns]]:
    lines = iter(line for line in body.decode("latin1").splitlines() if line.strip())
    for element in elements:
        rows = [line.split() for line in islice(lines, element.rows)]
        if len(rows) < element.rows:
            raise ValueError(f"{len(rows)} lines of element {element.name}, want {element.rows}")
        yield element, _ascii_columns(rows, element)


def _ascii_columns(rows: list[list[str]], element: Element) -> Columns:
    numbers: dict[str, list[float]] = {column.name: [] for column in element.properties if not column.count_type}
    lists: dict[str, Polygons] = {column.name: [] for column in element.properties if column.count_type}
    for words in rows:
        position = 0
        for column in element.properties:
            if column.count_type is None:
                numbers[column.name].append(float(words[position]))
                position += 1
            else:
                end = position + 1 + int(words[position])
                if not position < end <= len(words):
                    raise ValueError(f"a list of {end - position - 1} in a line of {len(words)} words")
                values = words[position + 1 : end]
                lists[column.name].append([int(word) if column.type[0] != "f" else 0 for word in values])
                position = end
        if position != len(words):
            raise ValueError(f"a line of {len(words)} words, want {position}")
    return {c.name: lists[c.name] if c.count_type else _typed(numbers[c.name], c.type) for c in element.properties}


def _typed(values: list[float], code: str) -> np.ndarray:
    """A column in the type that the header declares, as a binary file would hold it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(values, np.float64).astype(code)


def _read_binary(body: bytes, order: str, elements: list[Element]) -> Iterator[tuple[Element, Columns]]:
    position = 0
    for element in elements:
        columns, position = (_ragged if element.has_lists else _table)(body, position, order, element)
        yield element, columns


def _table(body: bytes, position: int, order: str, element: Element) -> tuple[Columns, int]:
    dtype = np.dtype([(column.name, order + column.type) for column in element.properties])
    end = position + element.rows * dtype.itemsize
    if end > len(body):
        raise ValueError(f"{len(body) - position} bytes of element {element.name}, want {end - position}")
    rows = np.frombuffer(body[position:end], dtype)
    return {column.name: rows[column.name] for column in element.properties}, end


def _ragged(body: bytes, position: int, order: str, element: Element) -> tuple[Columns, int]:
    """Rows with lists: all at once where every list is as long as in the first row, else one by one."""
    uniform = _uniform(body, position, order, element)
    if uniform is not None:
        return uniform
    columns: dict[str, Polygons] = {column.name: [] for column in element.properties}
    for _ in range(element.rows):
        for column in element.properties:
            count = 1
            if column.count_type is not None:
                count = int(_numbers(body, position, order + column.count_type, 1)[0])
                position += np.dtype(column.count_type).itemsize
            values = _numbers(body, position, order + column.type, count)
            position += values.nbytes
            columns[column.name].append(values.tolist())
    return dict(columns), position


def _uniform(body: bytes, position: int, order: str, element: Element) -> tuple[Columns, int] | None:
    """Rows of equal length as one table; None where they are not."""
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    counts: dict[str, int] = {}
    start = position
    for index, column in enumerate(element.properties):
        count = 1
        if column.count_type is not None:
            count = int(_numbers(body, start, order + column.count_type, 1)[0]) if element.rows else 0
            fields.append((f"count {index}", order + column.count_type, ()))
            start += np.dtype(column.count_type).itemsize
            counts[f"count {index}"] = count
        if not 0 <= count <= len(body):
            return None
        fields.append((column.name, order + column.type, (count,)))
        start += count * np.dtype(column.type).itemsize
    dtype = np.dtype(fields)
    end = position + element.rows * dtype.itemsize
    if end > len(body):
        return None
    rows = np.frombuffer(body[position:end], dtype)
    if any((rows[name] != count).any() for name, count in counts.items()):
        return None
    return {column.name: rows[column.name] for column in element.properties}, end


def _numbers(body: bytes, position: int, dtype: str, count: int) -> np.ndarray:
    if count < 0 or position + count * np.dtype(dtype).itemsize > len(body):
        raise ValueError(f"{count} numbers claimed at byte {position} of {len(body)}")
    return np.frombuffer(body, dtype, count, position)


def _triangles(polygons: "np.ndarray | Polygons", max_faces: int) -> Int[np.ndarray, "f 3"]:
    """Polygons as fans about their first corner, in file order."""
    if isinstance(polygons, np.ndarray) and polygons.ndim == 2 and polygons.dtype.kind in "iu":
        polygons = polygons.astype(np.int64)
        if polygons.shape[1] == 3:
            return polygons
        polygons = polygons.tolist()
    if isinstance(polygons, np.ndarray) and polygons.ndim < 2:
        raise ValueError("a face's vertex_indices are one number, want a list")
    triangles = []
    for number, corners in enumerate(polygons):
        if len(corners) < 3 or not all(isinstance(corner, int) for corner in corners):
            raise ValueError(f"face {number} has {len(corners)} corners, want 3 or more whole numbers")
        triangles += [[corners[0], b, c] for b, c in pairwise(corners[1:])]
        if len(triangles) > max_faces:
            raise ValueError(f"more than {max_faces} triangles")
    return np.array(triangles, np.int64).reshape(-1, 3)
