"""A drawn board as a camera above the line would take it: turned, tilted, unevenly lit, dusty, soft and noisy.

No OpenCV: Pillow, SciPy and float64 give the same bytes on more machines.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from .render import BENCH

QUALITY = 76  # of the JPEG file
CLEAR = 24  # dust keeps so far from a defect, so that it hides none, px
FINE = 4  # dust is drawn this much larger, then reduced

Box = list[int]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shot:
    """A JPEG picture, and the boxes [x0, y0, x1, y1) in px of what was asked about and of the dust."""

    jpeg: bytes
    boxes: list[Box]
    dust: list[Box]


def take(picture: Image.Image, boxes: list[Box], seed: tuple[int, ...]) -> Shot:
    """Take a picture of a drawn board; `boxes` of the drawing move along with the board."""
    rng = np.random.default_rng(seed)
    view = _view(picture.size, rng)
    moved = [_box(view, box) for box in boxes]
    back = np.linalg.inv(view)
    seen = picture.transform(
        picture.size, Image.Transform.PERSPECTIVE, tuple((back / back[2, 2]).ravel()[:8]), Image.Resampling.BICUBIC,
        fillcolor=BENCH,
    )  # fmt: skip
    light, (cover, dust) = _light(seen.size, rng), _dust(seen.size, moved, rng)
    scene = np.asarray(seen, np.float64)
    scene = scene + cover[..., None] * (np.array((168.0, 166.0, 158.0)) - scene)
    blur = rng.uniform(0.8, 1.2)
    scene = ndimage.gaussian_filter(scene * light, (blur, blur, 0), truncate=3)
    grain = rng.normal(0, 1, (*scene.shape[:2], 1)) + 0.5 * rng.normal(0, 1, scene.shape)
    scene = scene + (0.6 + 0.08 * np.sqrt(scene)) * grain  # more grain where more light falls
    file = io.BytesIO()
    Image.fromarray(np.clip(np.rint(scene), 0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return Shot(file.getvalue(), moved, dust)


def _view(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """The perspective (3, 3) from the drawing to the picture: a turn up to 2 degrees, a tilt, a shift."""
    turn, scale = np.radians(rng.uniform(-2, 2)), rng.uniform(0.93, 0.95)
    tilt = rng.uniform(-0.02, 0.02, 2) / (np.array(size) / 2)  # the far edge is up to 2 percent smaller
    middle, shift = np.array(size) / 2, rng.uniform(-8, 8, 2)
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    to_middle, from_middle = np.eye(3), np.eye(3)
    to_middle[:2, 2], from_middle[:2, 2] = -middle, middle + shift
    return from_middle @ np.array([[c, -s, 0], [s, c, 0], [*tilt, 1]]) @ to_middle


def _box(view: Floats, box: Box) -> Box:
    """The upright box around a box that was seen through `view`."""
    x0, y0, x1, y1 = box
    x, y, far = view @ np.array([[x0, x1, x1, x0], [y0, y0, y1, y1], [1, 1, 1, 1]])
    x, y = x / far, y / far
    return [int(np.floor(v)) for v in (x.min(), y.min())] + [int(np.ceil(v)) for v in (x.max(), y.max())]


def _light(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """How bright the lamp is (H, W, 3), about 1: falling off to one side, a soft bright spot, a tint."""
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    towards, (u, v) = rng.uniform(0, 2 * np.pi), rng.uniform(-0.7, 0.7, 2)
    fall = 1 + rng.uniform(0.12, 0.25) * (x * np.cos(towards) + y * np.sin(towards))
    spot = rng.uniform(0.08, 0.2) * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 0.35)
    edge = 1 - 0.08 * (x**2 + y**2)
    return ((fall + spot) * edge * rng.uniform(0.9, 1.02))[..., None] * rng.uniform(0.97, 1.03, 3)


def _dust(size: tuple[int, int], keep: list[Box], rng: np.random.Generator) -> tuple[Floats, list[Box]]:
    """How much of each pixel (H, W) dust covers, 0-1, and a box around each of 4 to 9 grains and fibres."""
    cover, boxes = np.zeros(size[::-1]), []
    for number in range(rng.integers(4, 10)):
        one = Image.new("L", (80 * FINE, 80 * FINE))
        brush, middle = ImageDraw.Draw(one), np.full(2, 40.0 * FINE)
        if number < 2:  # a fibre: an arc
            radius, start = FINE * rng.uniform(16, 36), rng.uniform(0, 360)
            arc = [tuple(middle - radius), tuple(middle + radius)]
            brush.arc(arc, start, start + rng.uniform(50, 120), 255, round(FINE * rng.uniform(1.5, 2.5)))
        else:  # a grain: a bent outline
            angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
            radii = FINE * rng.uniform(2.5, 6) * rng.uniform(0.6, 1.2, 12)
            points = middle + radii[:, None] * np.stack([np.cos(angles), rng.uniform(0.5, 1) * np.sin(angles)], 1)
            brush.polygon([tuple(point) for point in points], 255)
        grain = np.asarray(one.reduce(FINE), np.float64) / 255 * rng.uniform(0.55, 0.9)
        rows, columns = ndimage.find_objects((grain > 0.1).astype(np.int8))[0]
        x, y = (int(rng.integers(40, side - 120)) for side in size)
        box = [x + columns.start, y + rows.start, x + columns.stop, y + rows.stop]
        if all(_apart(box, other) for other in (*keep, *boxes)):
            cover[y : y + 80, x : x + 80] = np.maximum(cover[y : y + 80, x : x + 80], grain)
            boxes.append(box)
    return cover, boxes


def _apart(a: Box, b: Box) -> bool:
    return a[2] + CLEAR < b[0] or b[2] + CLEAR < a[0] or a[3] + CLEAR < b[1] or b[3] + CLEAR < a[1]
