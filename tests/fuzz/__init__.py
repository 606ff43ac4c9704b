"""Fuzzing of every parser of foreign bytes: `python -m fuzz` from the folder of the tests, or `make fuzz`."""
