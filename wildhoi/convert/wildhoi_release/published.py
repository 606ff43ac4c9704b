"""What is published of the WildHOI data set, and how a converted release compares with it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wildhoi.convert.conversion_report import ConversionReport

PUBLISHED = Path(__file__).parents[2] / "assets" / "wildhoi_release.toml"


def load_published() -> Mapping[str, Any]:
    """The facts of the published data set: counts the paper states, and the shares that its tables imply."""
    return tomllib.loads(PUBLISHED.read_text())


def compare(report: ConversionReport) -> list[str]:
    """What fits what the paper states and what does not, in a few sentences."""
    published = load_published()
    notes = [_shares(report, published), _test_images(report, published)]
    if any("train" in entry.samples for entry in report.objects.values()):
        notes += [*_train_frames(report, published), _videos(report, published)]
    return notes


def _shares(report: ConversionReport, published: Mapping[str, Any]) -> str:
    shares = published["shares"]
    absent = sorted(set(shares) - set(report.objects))
    if absent:
        return f"shares of the objects are not comparable with the paper's: no {', '.join(absent)}"
    total = max(_annotated(report, published), 1)
    off = [
        f"{name} {report.objects[name].rows('annotations', 'test') / total:.3f} (implied {share:.3f})"
        for name, share in shares.items()
        if abs(report.objects[name].rows("annotations", "test") / total - share) > published["share_tolerance"]
    ]
    if off:
        return f"shares of the test images differ from those the paper's averages imply: {', '.join(off)}"
    return "shares of the objects agree with those that the paper's averages imply"


def _annotated(report: ConversionReport, published: Mapping[str, Any]) -> int:
    """The annotated test images of the objects that the paper's tables have."""
    return sum(
        report.objects[name].rows("annotations", "test") for name in published["shares"] if name in report.objects
    )


def _test_images(report: ConversionReport, published: Mapping[str, Any]) -> str:
    found, stated = _annotated(report, published), published["test_images"]
    fits = abs(found - stated) <= published["test_images_tolerance"] * stated
    return f"{found} annotated test images, the paper states about {stated}: {'fits' if fits else 'differs'}"


def _train_frames(report: ConversionReport, published: Mapping[str, Any]) -> list[str]:
    low, high = published["train_frames"]
    outside = [
        f"{name} {entry.rows('samples', 'train')}"
        for name, entry in report.objects.items()
        if not low <= entry.rows("samples", "train") <= high
    ]
    stated = f"the paper states about {low} to {high} training frames of each object"
    return [f"{stated}: outside are {', '.join(outside)}" if outside else f"{stated}: fits"]


def _videos(report: ConversionReport, published: Mapping[str, Any]) -> str:
    train, test = (sum(entry.videos(split) for entry in report.objects.values()) for split in ("train", "test"))
    ratio, stated = train / max(test, 1), published["train_videos_per_test_video"]
    fits = abs(ratio - stated) <= published["video_ratio_tolerance"] * stated
    return f"{train} training and {test} test videos ({ratio:.1f} : 1), the paper states {stated} : 1: " + (
        "fits" if fits else "differs"
    )
