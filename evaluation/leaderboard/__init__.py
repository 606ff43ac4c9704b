"""The leaderboard: scored submissions and published results, in tables that never mix protocols or data."""

from evaluation.leaderboard.board import Leaderboard, build, leaderboard
from evaluation.leaderboard.entries import Entry, collect, reported_rows
from evaluation.leaderboard.tables import LeaderboardTable, tables

__all__ = ["Entry", "Leaderboard", "LeaderboardTable", "build", "collect", "leaderboard", "reported_rows", "tables"]
