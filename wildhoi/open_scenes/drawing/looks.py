"""How one picture of the open set looks: paint, light, place and sensor, drawn independently of who does what."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from wildhoi.body.model import BodyModel
from wildhoi.open_scenes.drawing.paint import Colour, Paint, choose, uniform
from wildhoi.open_scenes.drawing.person import paint_person
from wildhoi.open_scenes.drawing.settings import LightSettings, LookSettings, ScenerySettings, SensorSettings
from wildhoi.open_scenes.drawing.thing import paint_thing
from wildhoi.open_scenes.randomness import generator
from wildhoi.templates import Template

PARTS = ("person", "thing", "light", "scenery", "sensor")


@dataclass(frozen=True, eq=False)
class Light:
    """A lamp, a sky and what the ground throws back, in the camera frame (y down, z forward).

    `direction` points to the lamp; `key`, `sky` and `bounce` are linear strengths of lamp, sky and ground;
    `contact_shade` is the share of light lost close behind another surface.
    """

    direction: Float32[np.ndarray, "3"]
    key: Colour
    sky: Colour
    bounce: Colour
    contact_shade: float


@dataclass(frozen=True, eq=False)
class Scenery:
    """What lies behind: the place, and the seed from which the rest of it is drawn."""

    place: str
    seed: int
    settings: ScenerySettings


@dataclass(frozen=True, eq=False)
class Sensor:
    """What lens, sensor and coding do; lengths in pixels of a picture 256 pixels wide, light from 0 to 1.

    `gains` are those of exposure and white balance together, `motion` the vector of a shake, (0, 0) for none.
    """

    gains: Float32[np.ndarray, "3"]
    contrast: float
    saturation: float
    vignette: float
    read_noise: float
    shot_noise: float
    defocus: float
    motion: tuple[float, float]
    quality: int
    seed: int


@dataclass(frozen=True, eq=False)
class Look:
    """All that a picture's appearance takes beside geometry and camera."""

    person: Paint
    thing: Paint
    light: Light
    scenery: Scenery
    sensor: Sensor


def draw_look(rng: np.random.Generator, body: BodyModel, template: Template, settings: LookSettings) -> Look:
    """Draw a look; it depends on no pose, no interaction, no viewpoint and, thing apart, on no category."""
    parent = _seed(rng)
    # a stream for each part, so that the number of draws of one part moves no other part
    person, thing, light, place, sensor = (generator(parent, part) for part in PARTS)
    return Look(
        person=paint_person(person, body, settings),
        thing=paint_thing(thing, template, settings),
        light=_light(light, settings.light),
        scenery=Scenery(choose(place, settings.scenery.places), _seed(place), settings.scenery),
        sensor=_sensor(sensor, settings.sensor),
    )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))


def _light(rng: np.random.Generator, settings: LightSettings) -> Light:
    elevation = np.radians(uniform(rng, settings.elevation))
    azimuth = rng.uniform(-np.pi / 2, np.pi / 2) + np.pi * (rng.random() < settings.behind)
    level = np.cos(elevation)
    direction = [level * np.sin(azimuth), -np.sin(elevation), -level * np.cos(azimuth)]
    lamp, sky = (tint(uniform(rng, settings.kelvin)) for _ in range(2))
    return Light(
        direction=np.array(direction, np.float32),
        key=lamp * np.float32(uniform(rng, settings.key)),
        sky=sky * np.float32(uniform(rng, settings.sky)),
        bounce=(0.5 * (lamp + sky) * np.float32(uniform(rng, settings.bounce))).astype(np.float32),
        contact_shade=uniform(rng, settings.contact_shade),
    )


def tint(kelvin: float) -> Colour:
    """Colour of light of a temperature as a camera balanced for daylight half corrects it; brightness about 1."""
    # red falls and blue rises by about a factor of two from 3200 K to 9500 K; half of it, in logarithms, is left
    shift = 0.5 * np.log(kelvin / 5600)
    return np.asarray(np.exp(np.array([-0.55, 0.0, 0.65]) * shift), np.float32)


def _sensor(rng: np.random.Generator, settings: SensorSettings) -> Sensor:
    exposure = 2 ** uniform(rng, settings.exposure)
    balance = np.array([rng.uniform(-1, 1), 0, rng.uniform(-1, 1)]) * settings.balance
    angle, length = rng.uniform(0, np.pi), uniform(rng, settings.motion_length) * (rng.random() < settings.motion)
    dim = rng.random() ** 2  # most pictures are taken in good light; both noises grow as it fades
    return Sensor(
        gains=(exposure * (1 + balance)).astype(np.float32),
        contrast=uniform(rng, settings.contrast),
        saturation=uniform(rng, settings.saturation),
        vignette=uniform(rng, settings.vignette),
        read_noise=_between(settings.read_noise, dim),
        shot_noise=_between(settings.shot_noise, dim),
        defocus=uniform(rng, settings.defocus),
        motion=(float(length * np.cos(angle)), float(length * np.sin(angle))),
        quality=int(rng.integers(int(settings.quality[0]), int(settings.quality[1]) + 1)),
        seed=_seed(rng),
    )


def _between(bounds: tuple[float, float], share: float) -> float:
    return float(bounds[0] + share * (bounds[1] - bounds[0]))
