"""From light to a stored picture: lens, sensor noise, tone and JPEG."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt8

from wildhoi.open_scenes.drawing.looks import Sensor
from wildhoi.open_scenes.randomness import generator

REFERENCE = 256  # pixels across of the picture that the sensor's lengths are stated for
LUMA = (0.299, 0.587, 0.114)


def photograph(light: Float32[np.ndarray, "s s 3"], sensor: Sensor) -> UInt8[np.ndarray, "s s 3"]:
    """Take linear light, 0 to 1, through lens, sensor and one JPEG."""
    size = len(light)
    exposed = _blurred(light, sensor) * (_vignette(size)[..., None] * -sensor.vignette + 1) * sensor.gains
    noise = generator(sensor.seed, "noise").standard_normal(exposed.shape, np.float32)
    noise *= np.sqrt(np.maximum(exposed, 0) * np.float32(sensor.shot_noise**2) + np.float32(sensor.read_noise**2))
    encoded = np.sqrt(np.clip(exposed + noise, 0, None))
    return _jpeg(_toned(encoded, sensor), sensor.quality)


def _blurred(light: Float32[np.ndarray, "s s 3"], sensor: Sensor) -> Float32[np.ndarray, "s s 3"]:
    """Defocus, and the streak of a shaken camera."""
    import cv2

    scale = len(light) / REFERENCE
    soft = cv2.GaussianBlur(light, (0, 0), max(0.3, sensor.defocus * scale))
    if sensor.motion == (0.0, 0.0):
        return np.asarray(soft)
    half = 1 + int(np.ceil(np.hypot(*sensor.motion) * scale / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for share in np.linspace(-0.5, 0.5, 8 * half + 1):  # spread each point of the streak over the four pixels near it
        x, y = (half + share * scale * part for part in sensor.motion)
        i, j, a, b = int(x), int(y), x % 1, y % 1
        kernel[j : j + 2, i : i + 2] += np.outer([1 - b, b], [1 - a, a])
    return np.asarray(cv2.filter2D(soft, -1, kernel / kernel.sum()))


@lru_cache(maxsize=8)
def _vignette(size: int) -> Float32[np.ndarray, "s s"]:
    """Squared distance from the middle, 1 in the corners."""
    line = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    return np.asarray((line[:, None] + line) / 2)


def _toned(encoded: Float32[np.ndarray, "s s 3"], sensor: Sensor) -> UInt8[np.ndarray, "s s 3"]:
    """Contrast about middle grey with a soft shoulder, saturation, and bytes."""
    toned = 0.47 + sensor.contrast * (encoded - 0.47)
    over = np.maximum(toned - 0.8, 0)
    toned -= over * over / (over + 0.35)  # light beyond 0.8 is pressed together instead of cut
    grey = toned[..., 0] * LUMA[0] + toned[..., 1] * LUMA[1] + toned[..., 2] * LUMA[2]
    mixed = grey[..., None] + np.float32(sensor.saturation) * (toned - grey[..., None])
    return (np.clip(mixed, 0, 1) * 255 + 0.5).astype(np.uint8)


def _jpeg(picture: UInt8[np.ndarray, "s s 3"], quality: int) -> UInt8[np.ndarray, "s s 3"]:
    """The picture after one JPEG."""
    import cv2

    _, coded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
