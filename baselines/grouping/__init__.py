"""Grouping of views that may show the same scene, from what 2D keypoints and cameras say alone."""

from baselines.grouping.distances import pair_distances
from baselines.grouping.groups import Groups, GroupSettings
from baselines.grouping.report import GroupReport, make_report
from baselines.grouping.search import group_views, work_folder
from baselines.grouping.stored import read_groups, write_groups

__all__ = [
    "GroupReport",
    "GroupSettings",
    "Groups",
    "group_views",
    "make_report",
    "pair_distances",
    "read_groups",
    "work_folder",
    "write_groups",
]
