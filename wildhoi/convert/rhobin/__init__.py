"""RHOBIN, joint track of single images: its reference as a data folder, its results as reconstructions."""

from wildhoi.convert.rhobin.reference import convert_reference, plan_reference
from wildhoi.convert.rhobin.results import read_rhobin_results

__all__ = ["convert_reference", "plan_reference", "read_rhobin_results"]
