"""What a two-phase fit is made of, and how its settings are read: weights by term, steps, rates, coordinates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from baselines.fitting import Stage
from baselines.losses import TERMS, Function
from baselines.parts import Parts, matched_parts
from baselines.placement import Coordinates
from baselines.scene import BODY, OBJECT
from wildhoi.body import BodyModel
from wildhoi.errors import InputError
from wildhoi.method import Option, require_known
from wildhoi.templates import Template

MOST_STEPS = 1_000_000
CHOICES = {
    "scale": ("free", "fixed"),
    "coordinates": ("camera", "smpl"),
    "keypoints": ("table", "regressor"),
    "precision": ("float32", "float64"),
}

MEANINGS = {
    "steps": "steps of the first phase (the object alone) and of the second (the body too)",
    "lr": "learning rates of the two phases, or one for both: metres, radians, shares of scale",
    "final_lr": "share of the learning rate at a phase's last step, reached geometrically",
    "beta2": "how long Adam remembers the size of gradients: 0 to below 1",
    "tolerance": "an image stops when its loss falls by less than this share in 50 steps; 0: never",
    "scale": "whether the object's size is fitted too: `free` or `fixed`",
    "coordinates": "object moved in the `camera`'s coordinates, or in the body's, `smpl`",
    "keypoints": "keypoints of the body from the documented `table`, or the authors' `regressor`",
    "precision": "float32 or float64",
}

Pair = tuple[float, float]

COMMON = {
    "correspondences": 1e-1,
    "scale_decay": 1e-1,
    "body_keypoints": 1e-2,
    "hand_keypoints": 1e-1,
    "betas_decay": 1e-1,
    "body_decay": 1.0,
    "hand_decay": 1.0,
    "body_norm": 1e-5,
    "hand_norm": 1e-1,
}
"""The weights of equation 15 without what tells how person and object stand to each other, as the authors' code has
them where there is no contact."""


@dataclass(frozen=True)
class Recipe:
    """The choices of a method that fits in two phases: the object alone, then the body too (paper, 3.3).

    Attributes:
        weights: of each term in the first phase.
        second_share: what the weights are multiplied by in the second phase.
        steps, lr: of the two phases.
        final_lr: share of the learning rate that is left at a phase's last step.
        beta2: of Adam.
        fresh: whether the second phase begins with a new optimiser.
        scale: whether the object's size is fitted.
        coordinates: in which objects are moved (see `placement`).
        objective: sum or mean over images.
        background: whether the background's cells compete among the correspondences.
        functions: other functions than `losses` has under these names.
        parts: which parts attract which.
        tolerance: see `fitting.Problem`.
        keypoints: the table's, or the authors' regressor.
        precision: of all numbers.
    """

    weights: Mapping[str, float]
    second_share: float = 1.0
    steps: tuple[int, int] = (4000, 1000)
    lr: Pair = (0.05, 0.05)
    final_lr: float = 1.0
    beta2: float = 0.999
    fresh: bool = True
    scale: Literal["free", "fixed"] = "free"
    coordinates: Coordinates = "camera"
    objective: Literal["sum", "mean"] = "sum"
    background: bool = False
    functions: Mapping[str, Function] = field(default_factory=dict)
    parts: Callable[[BodyModel, Template], Parts] = matched_parts
    tolerance: float = 0.0
    keypoints: Literal["table", "regressor"] = "table"
    precision: Literal["float32", "float64"] = "float32"

    def options(self) -> dict[str, Option]:
        """The settings that a user may give, with this recipe's values."""
        general = {name: Option(getattr(self, name), meaning) for name, meaning in MEANINGS.items()}
        return general | {name: Option(self.weights[name], f"weight: {TERMS[name].meaning}") for name in self.weights}

    def settled(self, where: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, those given checked.

        Raises:
            InputError: one is unknown, or its value of the wrong kind.
        """
        options = self.options()
        require_known(where, settings, options)
        values = {name: option.default for name, option in options.items()}
        for name, value in settings.items():
            if name in CHOICES:
                if value not in CHOICES[name]:
                    raise InputError(f"{where}: {name} is {value!r}, want {' or '.join(CHOICES[name])}")
                values[name] = value
            elif name == "steps":
                low, high = _pair(where, name, value)
                if not all(number == int(number) and 0 <= number <= MOST_STEPS for number in (low, high)):
                    raise InputError(f"{where}: steps is {value!r}, want two whole numbers, such as 4000,1000")
                values[name] = (int(low), int(high))
            elif name == "lr":
                values[name] = _pair(where, name, value)
            else:
                values[name] = _number(where, name, value)
        if not values["beta2"] < 1:
            raise InputError(f"{where}: beta2 is {values['beta2']:g}, want less than 1")
        return values

    def stages(self, values: Mapping[str, Any]) -> list[Stage]:
        """The two phases under settled values; in the first, terms of the body alone have nothing to move."""
        functions = {name: self.functions.get(name, TERMS[name].function) for name in self.weights}
        first = {n: (f, values[n]) for n, f in functions.items() if not TERMS[n].of_body_alone}
        second = {n: (f, values[n] * self.second_share) for n, f in functions.items()}
        (steps, more), (lr, lr_after) = values["steps"], values["lr"]
        things = tuple(name for name in OBJECT if values["scale"] == "free" or name != "object_scale")
        return [
            Stage(steps, things, first, lr, values["final_lr"], values["beta2"]),
            Stage(more, (*BODY, *things), second, lr_after, values["final_lr"], values["beta2"], self.fresh),
        ]

    def needs(self, values: Mapping[str, Any]) -> dict[str, list[str]]:
        """What a sample must have: each input, and the terms of some weight that need it."""
        found: dict[str, list[str]] = {}
        for name in self.weights:
            for need in TERMS[name].needs if values[name] else ():
                found.setdefault(need, []).append(name)
        return found


def _number(where: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise InputError(f"{where}: {name} is {value!r}, want a number that is not negative")
    return float(value)


def _pair(where: str, name: str, value: Any) -> Pair:
    """Two numbers, or one for both phases."""
    values = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(values) != 2:
        raise InputError(f"{where}: {name} is {value!r}, want one number or two separated by a comma")
    return _number(where, name, values[0]), _number(where, name, values[1])
