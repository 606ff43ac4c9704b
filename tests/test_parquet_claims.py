import struct
from contextlib import nullcontext

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wildhoi import parquet
from wildhoi.errors import InputError
from wildhoi.parquet_claims import MOST_DEPTH, read_claims

COLUMNS = {
    "text": st.text(max_size=300),
    "number": st.integers(-(2**63), 2**63 - 1),
    "real": st.floats(),
    "flag": st.booleans(),
    "bytes": st.binary(max_size=9),
    "list": st.lists(st.floats(width=32), max_size=5),
    "nested": st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=3),
    "struct": st.fixed_dictionaries({"inner": st.lists(st.text(max_size=4), max_size=3), "other": st.none()}),
}


@st.composite
def tables(draw):
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True))
    rows = draw(st.integers(0, 40))
    columns = {name: [draw(st.none() | COLUMNS[name]) for _ in range(rows)] for name in names}
    return pa.table(columns).replace_schema_metadata(draw(st.dictionaries(st.text(), st.text(), max_size=3)))


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(1, 50), st.booleans(), st.sampled_from(["1.0", "2.6"]), st.booleans())
def test_what_is_claimed_is_what_arrow_reads(tmp_path_factory, table, group_rows, statistics, version, page_index):
    path = tmp_path_factory.getbasetemp() / "claims.parquet"
    pq.write_table(table, path, row_group_size=group_rows, write_statistics=statistics, version=version,
                   write_page_index=page_index)  # fmt: skip
    arrow = pq.read_metadata(path)
    groups = [arrow.row_group(i) for i in range(arrow.num_row_groups)]
    for name in table.schema.names:
        claims = read_claims(path, [name])
        chunks = [group.column(i) for group in groups for i in range(arrow.num_columns)]
        own = [chunk.num_values for chunk in chunks if chunk.path_in_schema.split(".")[0] == name]
        assert (claims.rows, claims.values) == (arrow.num_rows, sum(own))
        assert claims.bytes == sum(group.total_byte_size for group in groups)


# --- footers written by hand ----------------------------------------------------------------------------------------


def varint(number):
    text = bytearray()
    while number > 127:
        text.append(number & 127 | 128)
        number >>= 7
    return bytes([*text, number])


def zigzag(number):
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def footer_file(path, footer):
    path.write_bytes(b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1")
    return path


ROWS_OF_SEVEN = b"\x06" + zigzag(3) + zigzag(7)  # field 3, its number written out, of type i64


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\x06" + zigzag(900) + zigzag(-5),  # unknown fields of any number
        b"\x06" + zigzag(-900) + zigzag(2**62),
        b"\x07" + zigzag(31) + bytes(8),
        b"\x03" + zigzag(31) + b"\xff",
        b"\x01" + zigzag(31),
        b"\x09" + zigzag(31) + b"\x31\x01\x02\x01",  # a list of three truth values
        b"\x09" + zigzag(31) + b"\xf5" + varint(20) + zigzag(7) * 20,
        b"\x0c" + zigzag(31) + b"\x15" + zigzag(8) + b"\x00",
    ],
)
def test_fields_nobody_asks_for_are_passed_over(tmp_path, before):
    claims = read_claims(footer_file(tmp_path / "f", before + ROWS_OF_SEVEN + b"\x00"), [])
    assert (claims.rows, claims.values, claims.bytes) == (7, 0, 0)


@pytest.mark.parametrize(
    "footer",
    [
        b"\x00",  # no number of rows
        ROWS_OF_SEVEN,  # no end
        b"\x06" + zigzag(3) + zigzag(-7) + b"\x00",
        b"\x01" + zigzag(3) + b"\x00",  # the number of rows is "true"
        b"\x08" + zigzag(3) + b"\x7fabc" + b"\x00",
        b"\x06" + zigzag(3) + b"\xff" * 12 + b"\x00",
        b"\x0b" + zigzag(9) + ROWS_OF_SEVEN + b"\x00",  # a map, which no footer has
        b"\x0e" + zigzag(9) + ROWS_OF_SEVEN + b"\x00",
        b"\x09" + zigzag(9) + b"\xf1" + varint(2**40) + ROWS_OF_SEVEN + b"\x00",
        b"\x1c" * 10_000 + b"\x00" * 10_000 + ROWS_OF_SEVEN + b"\x00",
        b"\x19" + b"\x19" * 10_000 + ROWS_OF_SEVEN + b"\x00",
        b"\x19" * (2 * MOST_DEPTH) + b"\x00",
        ROWS_OF_SEVEN + b"\x19\x1c" + b"\x00" * 2,  # a row group without columns
        ROWS_OF_SEVEN + b"\x16" + zigzag(1) + b"\x00",  # row groups that are a number
    ],
)
def test_damage_is_refused(tmp_path, footer):
    with pytest.raises(ValueError):
        read_claims(footer_file(tmp_path / "f", footer), ["image_id"])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 3, b"\x00" * 100, b"PAR1" + b"\xff" * 8 + b"PAR1"])
def test_a_file_without_a_footer_is_refused(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ValueError, match="footer"):
        read_claims(tmp_path / "f", [])


@pytest.mark.parametrize(("bytes_per_row", "read"), [(4, True), (10**5, False)])
def test_more_rows_are_read_of_a_file_that_is_as_large_as_they_say(tmp_path, monkeypatch, bytes_per_row, read):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": np.random.default_rng(0).normal(size=500)}), path)
    monkeypatch.setattr(parquet, "MAX_ROWS", 10)
    monkeypatch.setattr(parquet, "BYTES_PER_ROW", bytes_per_row)
    with nullcontext() if read else pytest.raises(InputError, match=r"500 rows, .* of a file of this size at most 10,"):
        assert len(parquet.read_parquet(path, ["x"], [])[0]) == 500
