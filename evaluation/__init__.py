"""Scoring: metrics, protocols, summaries, the leaderboard. Needs no method and no GPU."""
