"""How long the check of a large submission takes."""

import time

import numpy as np
import pandas as pd

import submissions
from wildhoi.schema import Human
from wildhoi.submission.folder import check_submission


def test_ten_thousand_rows_are_checked_within_two_seconds(tmp_path):
    body = Human(np.zeros(10), np.zeros((21, 3)), np.zeros((15, 3)), np.zeros((15, 3)))
    table = pd.concat([submissions.frame([submissions.reconstruction("x", human=body)])] * 10_000, ignore_index=True)
    table["image_id"] = [f"{i:06d}" for i in range(10_000)]
    submissions.spoil(tmp_path, table)
    start = time.process_time()
    with submissions.unchecked():
        submission, defects = check_submission(tmp_path)
    assert len(submission.rows) == 10_000 and not defects
    assert time.process_time() - start < 2
