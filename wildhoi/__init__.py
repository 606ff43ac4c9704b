"""The contract of the benchmark: what a sample, an object, a reconstruction and a submission are."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("wildhoi")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
