"""A submission: `submission.yaml` (who and how) and `predictions.parquet` (one row per image)."""
