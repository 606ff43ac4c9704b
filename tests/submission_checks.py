"""Checking submissions that were spoilt on purpose."""

import pyarrow as pa
import pyarrow.parquet as pq

import submissions
from wildhoi.submission.folder import PREDICTIONS, check_submission

VALID = "spec: 1\nmethod: made up\ndataset: open-sample\nsplit: test\nbody_model: open\n"


def codes(defects, severity="error"):
    return [d.code for d in defects if d.severity == severity]


def check(folder, table=None, manifest=None, data=None):
    if table is not None:
        submissions.spoil(folder, table, manifest)
    return check_submission(folder, data)


def arrow(**columns):
    """A valid file as an Arrow table with some columns replaced."""
    table = pa.Table.from_pandas(submissions.frame(), preserve_index=False)
    for name, column in columns.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, column) if index >= 0 else table.append_column(name, column)
    return table


def check_arrow(folder, table):
    submissions.make_submission(folder, [])
    pq.write_table(table, folder / PREDICTIONS)
    return check_submission(folder)
