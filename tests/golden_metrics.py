"""Deterministic cases and their golden values, made by the slow twins alone.

Run `PYTHONPATH=. python tests/golden_metrics.py` in the repository's root to write them afresh.
"""

import json
from pathlib import Path

import numpy as np
from scenes import make_pair, noisy, person, pose_of, small_protocol, template
from slow_metrics import all_metrics

GOLDEN = Path(__file__).parent / "data" / "golden_metrics.json"


def golden_cases():
    """The deterministic cases whose values are stored: name -> Pair."""
    cases = {}
    for protocol in ("wildhoi@1", "behave@1", "open@1"):
        for number, name in enumerate(("barbell", "basketball", "bicycle", "boxlarge", "skateboard", "stool")):
            truth = pose_of(number, angle=0.4 if name == "bicycle" else None)
            guess = noisy(pose_of(number, scale=1.05, angle=-0.3 if name == "bicycle" else None), 25, 0.04, number)
            pair, _ = make_pair(
                template(name),
                small_protocol(protocol, points=120, contact_distance=0.1, f_score_threshold=0.03),
                truth,
                guess,
                truth_body=person(subdivisions=3),
                predicted_body=person(seed=number, noise=0.01, subdivisions=3),
                image_id=f"golden_{name}",
            )
            cases[f"{protocol} {name}"] = pair
    return cases


def write_golden():
    values = {
        case: {
            key: None if np.isnan(value) else round(float(value), 9)
            for key, value in sorted(all_metrics(pair).items())
            # the group's continuous axis is stepped for this one: no exact value to compare with
            if not (key == "mssd" and pair.symmetry.kind == "axis")
        }
        for case, pair in golden_cases().items()
    }
    origin = "made by tests/golden_metrics.py: the slow twins of slow_metrics.py on the cases of golden_cases()"
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps({"origin": origin, "values": values}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write_golden()
