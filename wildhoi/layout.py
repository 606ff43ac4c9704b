"""The names of what a data folder holds besides its tables."""

IDENTITY = "dataset.json"
CHECKSUMS = "checksums.json"
CARD = "README.md"
TABLES = ("samples", "annotations")  # folders of Parquet files by object
RECORD = ".hub.json"  # where a download came from, and what of it was asked for
CONVERTING, DOWNLOADING = ".conversion", ".download"  # what a conversion or a download keeps until it is done
