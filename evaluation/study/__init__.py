"""A human study: which of two reconstructions people prefer, on blinded pairs, and how sure that is."""

from evaluation.study.making import MadeStudy, StudyOptions, make_study
from evaluation.study.report import to_markdown, to_rich
from evaluation.study.scoring import Preference, StudyScore, score_study

__all__ = [
    "MadeStudy",
    "Preference",
    "StudyOptions",
    "StudyScore",
    "make_study",
    "score_study",
    "to_markdown",
    "to_rich",
]
