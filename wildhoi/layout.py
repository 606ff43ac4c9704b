"""The names of what a data folder holds besides its tables."""

IDENTITY = "dataset.json"
CHECKSUMS = "checksums.json"
CARD = "README.md"
IMAGES = ("samples", "annotations")  # folders of Parquet files by object, a row for each image
TABLES = (*IMAGES, "layouts")  # all of them; layouts have a row for each further view of a scene
RECORD = ".hub.json"  # where a download came from, and what of it was asked for
CONVERTING, DOWNLOADING = ".conversion", ".download"  # what a conversion or a download keeps until it is done
