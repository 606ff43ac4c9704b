"""The leaderboard as a static site: plain files that open from disk and need no server."""

from evaluation.site.building import SiteOptions, build_site

__all__ = ["SiteOptions", "build_site"]
