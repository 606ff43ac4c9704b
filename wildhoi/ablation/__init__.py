"""Ablations: variants of a method from a grid, each trained, run and scored once, in one folder."""
