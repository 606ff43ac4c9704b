"""The card of a trained prior: what it is, how it was trained, how it is used."""

from typing import Any

from baselines.prior_files import CARD, CONFIG
from baselines.training.diary import Diary, Standing
from wildhoi.files import read_json, write_text

TEXT = """\
---
library_name: wildhoi
license: mit
tags: [human-object-interaction, normalizing-flow]
---

# Flow prior of the {object}

A {supervision} prior of how people and this object are arranged in space, given a picture: a normalizing flow over
{modelled}, of the method of "Monocular Human-Object Reconstruction in the Wild". Use it with

```bash
wildhoi run flow-prior --checkpoint DIR --dataset DATA --objects {object} -o RUN
```

where `DIR` is this folder, or one that holds it under the name `{object}`.

| what | |
|---|---|
| data | {data}, {images:,} images, {views:,} views, revision `{revision}` |
| groups | {grouping} |
| flow | depth {depth}, width {width}, {coupling} coupling, {dimension} dimensions |
| condition | {encoder} ({origin}) |
| training | {epochs} epochs of {batch} images x {draws} views, preset `{preset}` |
| coordinates | {space}; noise {noise:g} on keypoints, {camera_noise:g} on cameras |
| best epoch | {best_epoch}, held-out log-density {held_out:.3f} nats per dimension |
| hardware | {processor}, {device}, {processes} process(es), torch {torch} |

Likelihoods compare only at equal noise and equal coordinates. The weights know this data set's people, objects and
cameras, and no others.
The prior belongs to one category table and one template (their hashes are in `config.json`); another is refused.
"""


def write_card(diary: Diary, standing: Standing) -> None:
    """Write the card of a training that has ended."""
    content = read_json(diary.folder / CONFIG)
    prior, training, data, environment = (content[name] for name in ("prior", "training", "data", "environment"))
    two = prior["supervision"] == "2d"
    facts: dict[str, Any] = {
        "object": prior["object"],
        "supervision": "2D-supervised" if two else "3D-supervised",
        "modelled": "X_2.5D (rays to keypoints, and where the camera stands)" if two else "X_3D (keypoints in space)",
        "data": data["name"],
        **{name: data[name] for name in ("images", "views", "revision")},
        "grouping": _grouping(training, data),
        **{name: prior["flow"][name] for name in ("depth", "width", "coupling")},
        **{name: prior[name] for name in ("space", "noise", "camera_noise")},
        "dimension": 3 * (prior["keypoints"] + two),
        "encoder": prior["encoder"]["name"],
        "origin": content["encoder"],
        **{name: training[name] for name in ("batch", "draws", "preset")},
        "epochs": standing.epoch,
        "best_epoch": standing.best_epoch,
        "held_out": standing.best,
        **{name: environment[name] for name in ("processor", "device", "processes", "torch")},
    }
    write_text(diary.folder / CARD, TEXT.format(**facts))


def _grouping(training: dict[str, Any], data: dict[str, Any]) -> str:
    """How images were grouped, in words."""
    if training["supervision"] == "3d":
        return "none: keypoints in space are annotated"
    words = {
        "knn": f"{training['k']} nearest neighbours of each view (equation 11)",
        "gt": "the true further views of each scene",
        "none": "none: an image's own view alone",
    }[training["grouping"]]
    return f"{words}; effective views of an image {data['effective_views']:.1f} (median)"
