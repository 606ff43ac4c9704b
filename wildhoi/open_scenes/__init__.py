"""The open set: people posed with objects, drawn, and seen through detectors that err; no licence, exact truth."""
