"""Scored submissions compared on the same images, with what is certain and what is not."""

from evaluation.comparison.comparing import Comparison, Difference, Far, compare_submissions
from evaluation.comparison.report import to_markdown, to_rich
from evaluation.comparison.statistics import paired_statistics

__all__ = ["Comparison", "Difference", "Far", "compare_submissions", "paired_statistics", "to_markdown", "to_rich"]
