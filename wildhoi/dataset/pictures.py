"""Pictures and masks as bytes: JPEG and one-bit PNG, with limits on what is decoded."""

import struct

import numpy as np
from jaxtyping import Bool, UInt8

from wildhoi.errors import InputError

JPEG_QUALITY = 95
MAX_BYTES = 64 * 2**20
"""Of a file: an 8K picture with hardly any compression."""
MAX_SIDE = 16_384
"""Pixels; 8K video is 7680 wide."""
MAX_PIXELS = 2**26
"""Twice those of 8K video: what a few bytes can claim costs 200 MB and half a second, not a gigabyte."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
STARTS_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})

Picture = UInt8[np.ndarray, "h w 3"]
Mask = Bool[np.ndarray, "h w"]


def decode_picture(data: bytes) -> Picture:
    """Decode a JPEG or PNG picture to RGB as it is stored, without turning it by its EXIF data.

    Raises:
        InputError: the bytes are no such picture, a part of one, or claim a size beyond the limits.
    """
    return _decode(data, "IMREAD_COLOR_RGB")


def decode_grey(data: bytes) -> UInt8[np.ndarray, "h w"]:
    """Decode a picture to grey values; raises as `decode_picture` does."""
    return _decode(data, "IMREAD_GRAYSCALE")


def _decode(data: bytes, mode: str) -> UInt8[np.ndarray, "..."]:
    import cv2

    width, height = picture_size(data)
    if not 0 < max(width, height) <= MAX_SIDE or min(width, height) < 1 or len(data) > MAX_BYTES:
        raise InputError(f"a picture of {width} x {height} in {len(data)} bytes; at most {MAX_SIDE} a side are read")
    if width * height > MAX_PIXELS:
        raise InputError(f"a picture of {width} x {height}; at most {MAX_PIXELS} pixels are read")
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), getattr(cv2, mode) | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        decoded = None
    if decoded is None:
        raise InputError("a picture that cannot be decoded (cut short?)")
    return decoded


def picture_size(data: bytes) -> tuple[int, int]:
    """The width and height that a JPEG or PNG file states.

    Raises:
        InputError: the bytes are neither.
    """
    if data.startswith(PNG_SIGNATURE) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return int(width), int(height)
    if not data.startswith(b"\xff\xd8"):
        raise InputError("no JPEG or PNG picture")
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in STARTS_OF_FRAME:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return int(width), int(height)
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        place += 2 + length
    raise InputError("a JPEG picture without a size (cut short?)")


def encode_picture(picture: Picture) -> bytes:
    """Encode RGB as JPEG, quality 95."""
    import cv2

    return _encode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)


def encode_mask(mask: Mask) -> bytes:
    """Encode a mask as PNG of one bit per pixel."""
    import cv2

    return _encode(".png", mask.astype(np.uint8) * 255, cv2.IMWRITE_PNG_BILEVEL, 1)


def _encode(suffix: str, array: UInt8[np.ndarray, "..."], *options: int) -> bytes:
    import cv2

    done, data = cv2.imencode(suffix, array, options)
    if not done:
        raise InputError(f"a picture of shape {array.shape} that cannot be encoded")
    return data.tobytes()


def decode_mask(data: bytes) -> Mask:
    """Decode a mask; raises as `decode_picture` does."""
    return np.asarray(decode_grey(data) > 127)
