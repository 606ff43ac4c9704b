"""Builders of what ships: run them with `make assets`."""
