"""Data folders, their truth and their samples; the only importer of `datasets`."""

from wildhoi.dataset.annotations import ANNOTATIONS, ROTATION_TOLERANCE, load_annotations, read_annotations
from wildhoi.dataset.annotations import write_annotations as write_annotations
from wildhoi.dataset.finding import SampleFinder, find_sample
from wildhoi.dataset.folder import (
    BODY_MODELS,
    SHIPPED,
    SPLITS,
    DataFolder,
    find_data,
    open_folder,
    seal_folder,
)
from wildhoi.dataset.layouts import LAYOUTS, load_layouts, read_layouts, write_layouts
from wildhoi.dataset.loading import Samples, SampleStream, load_samples

__all__ = [
    "ANNOTATIONS",
    "BODY_MODELS",
    "LAYOUTS",
    "ROTATION_TOLERANCE",
    "SHIPPED",
    "SPLITS",
    "DataFolder",
    "SampleFinder",
    "SampleStream",
    "Samples",
    "find_data",
    "find_sample",
    "load_annotations",
    "load_layouts",
    "load_samples",
    "open_folder",
    "read_annotations",
    "read_layouts",
    "seal_folder",
    "write_annotations",
    "write_layouts",
]
