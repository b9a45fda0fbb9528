"""Seeded pairs of binary board pictures in the style of the DeepPCB benchmark, for template comparison.

A pair is a template and a tested board, 640 x 640, black laminate and white copper, with the tested
board's edges wobbling by 1-3 px, 3-12 defects of the six DeepPCB kinds, and boxes drawn as a person draws
them: with a margin.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from helpers.inspection import Box

SIDE = 640
KINDS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """Template and board (H, W) uint8 of 0 and 255, the boxes of the planted defects, and their kinds."""

    template: NDArray[np.uint8]
    board: NDArray[np.uint8]
    truth: list[Box]
    kinds: list[str]


@dataclass(frozen=True)
class _Track:
    points: list[tuple[float, float]]
    width: int


def make_pair(seed: int) -> Pair:
    """Return one pair; every third is shifted by up to 2 px, half pixels included."""
    rng = np.random.default_rng(seed)
    clean, tracks = _layout(rng)
    defective = clean.copy()
    truth: list[Box] = []
    kinds: list[str] = []
    goal = int(rng.integers(3, 13))
    for _ in range(40 * goal):
        if len(truth) == goal:
            break
        kind = KINDS[int(rng.integers(6))]
        changed = _DRAW[kind](defective, clean, tracks, rng)
        if changed is None:
            continue
        box = _hand_drawn(defective != changed, rng)
        if box is None or any(_near(box, other) for other in truth):
            continue
        defective = changed
        truth.append(box)
        kinds.append(kind)
    wobble = rng.uniform(0.5, 1.0)
    shift = rng.choice([-2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2], 2) if seed % 3 == 0 else np.zeros(2)
    template = _scan(clean, rng, 0.35 * wobble, np.zeros(2))
    board = _scan(defective, rng, wobble, shift)
    moved = [
        Box(*(round(v + d) for v, d in zip(b, shift[[1, 0, 1, 0]].tolist(), strict=True))) for b in truth
    ]
    return Pair(template, board, moved, kinds)


def _layout(rng: np.random.Generator) -> tuple[Mask, list[_Track]]:
    """Draw a window of a board: buses of tracks with 45-degree bends, rows of pads, vias, a pour."""
    picture = Image.new("1", (SIDE, SIDE))
    draw = ImageDraw.Draw(picture)
    tracks: list[_Track] = []
    turned = bool(rng.random() < 0.5)
    y = float(rng.integers(10, 40))
    while y < SIDE - 20:
        kind = rng.random()
        if kind < 0.62:
            count, width = int(rng.integers(2, 6)), int(rng.integers(9, 19))
            pitch = width + int(rng.integers(10, 22))
            bend, drop = float(rng.uniform(120, 500)), float(rng.choice([0, 0, 30, 60]))
            for i in range(count):
                at = y + i * pitch
                if at + drop > SIDE - 10:
                    break
                start = 0.0 if rng.random() < 0.6 else float(rng.uniform(20, 160))
                end = float(SIDE) if rng.random() < 0.6 else float(rng.uniform(SIDE - 160, SIDE - 20))
                x = bend - i * pitch * 0.41
                points = (
                    [(start, at), (x, at), (x + drop, at + drop), (end, at + drop)]
                    if drop
                    else [(start, at), (end, at)]
                )
                if start >= x - 20 or end <= x + drop + 20:
                    points = (
                        [(start, at), (end, at)]
                        if not drop
                        else [(0.0, at), (x, at), (x + drop, at + drop), (640.0, at + drop)]
                    )
                tracks.append(_Track(points, width))
                for px, py in (points[0], points[-1]):
                    if 0 < px < SIDE:
                        _disc(draw, px, py, width * rng.uniform(1.0, 1.4))
            y += count * pitch + drop + float(rng.integers(8, 30))
        elif kind < 0.85:
            w, h, pitch = int(rng.integers(24, 50)), int(rng.integers(40, 80)), int(rng.integers(62, 90))
            x = float(rng.integers(5, 60))
            while x < SIDE - w:
                draw.rectangle((x, y, x + w, y + h), fill=1)
                x += pitch
            y += h + float(rng.integers(14, 30))
        else:
            h = int(rng.integers(50, 120))
            draw.rectangle((0, y, SIDE * rng.uniform(0.5, 1), y + h), fill=1)
            for _ in range(int(rng.integers(1, 5))):
                cx, cy = float(rng.uniform(40, 300)), y + h / 2
                _disc(draw, cx, cy, 22, 0)
                _disc(draw, cx, cy, 13)
            y += h + float(rng.integers(14, 30))
    for track in tracks:
        draw.line(track.points, fill=1, width=track.width, joint="curve")
    mask = np.asarray(picture)
    if turned:
        tracks = [_Track([(b, a) for a, b in t.points], t.width) for t in tracks]
        mask = mask.T
    return mask.copy(), tracks


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, fill: int = 1) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def _scan(
    mask: Mask, rng: np.random.Generator, wobble: float, shift: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Threshold a blurred picture against smooth noise, so that edges wander; shift it; drop a few specks."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 1.8)
    if shift.any():
        soft = ndimage.shift(soft, shift, order=1, mode="nearest")
    noise = ndimage.gaussian_filter(rng.normal(0, 1, mask.shape), 2.2)
    noise += 0.6 * ndimage.gaussian_filter(rng.normal(0, 1, mask.shape), 1.0) * noise.std() * 3.5
    level = 0.5 + wobble * 0.16 * noise / noise.std()
    out = soft > np.clip(level, 0.06, 0.94)
    for _ in range(int(rng.poisson(4 * wobble))):
        y, x = rng.integers(2, SIDE - 2, 2)
        out[y : y + int(rng.integers(1, 3)), x : x + int(rng.integers(1, 3))] ^= True
    return (out * 255).astype(np.uint8)


def _hand_drawn(change: Mask, rng: np.random.Generator) -> Box | None:
    """Return the box of the change with a margin of 2-8 px, another one on each side."""
    found = ndimage.find_objects(change.astype(np.int8))
    if not found or change.sum() < 24:
        return None
    rows, columns = found[0]
    m = rng.integers(2, 9, 4)
    x0, y0, x1, y1 = columns.start - m[0], rows.start - m[1], columns.stop + m[2], rows.stop + m[3]
    if min(x0, y0) < 4 or max(x1, y1) > SIDE - 4:
        return None
    return Box(int(x0), int(y0), int(x1), int(y1))


def _near(a: Box, b: Box, gap: int = 12) -> bool:
    return a.x0 - gap < b.x1 and b.x0 - gap < a.x1 and a.y0 - gap < b.y1 and b.y0 - gap < a.y1


def _blob(x: float, y: float, rx: float, ry: float, rng: np.random.Generator) -> Mask:
    """Return an uneven ellipse."""
    angle = np.linspace(0, 2 * math.pi, 20, endpoint=False)
    turn, rough = rng.uniform(0, math.pi), 1 + rng.uniform(-0.2, 0.2, 20)
    px, py = rx * rough * np.cos(angle), ry * rough * np.sin(angle)
    xs, ys = x + px * math.cos(turn) - py * math.sin(turn), y + px * math.sin(turn) + py * math.cos(turn)
    picture = Image.new("1", (SIDE, SIDE))
    ImageDraw.Draw(picture).polygon([(float(a), float(b)) for a, b in zip(xs, ys, strict=True)], fill=1)
    return np.asarray(picture)


def _bar(a: tuple[float, float], b: tuple[float, float], width: float) -> Mask:
    picture = Image.new("1", (SIDE, SIDE))
    ImageDraw.Draw(picture).line([a, b], fill=1, width=max(1, round(width)))
    return np.asarray(picture)


def _spot(tracks: list[_Track], rng: np.random.Generator) -> tuple[float, float, float, float, int] | None:
    """Return a point on a track, the direction of the track there, and its width."""
    if not tracks:
        return None
    track = tracks[int(rng.integers(len(tracks)))]
    i = int(rng.integers(len(track.points) - 1))
    (ax, ay), (bx, by) = track.points[i], track.points[i + 1]
    length = math.dist((ax, ay), (bx, by))
    if length < 60:
        return None
    t = float(rng.uniform(0.15, 0.85))
    return ax + t * (bx - ax), ay + t * (by - ay), (bx - ax) / length, (by - ay) / length, track.width


def _edge(clean: Mask, rng: np.random.Generator) -> tuple[float, float, float, float] | None:
    """Return a point on a copper edge and the direction out of the copper."""
    rim = clean & ~ndimage.binary_erosion(clean)
    ys, xs = np.nonzero(rim[20:-20, 20:-20])
    if not len(ys):
        return None
    k = int(rng.integers(len(ys)))
    y, x = int(ys[k]) + 20, int(xs[k]) + 20
    patch = ndimage.gaussian_filter(clean[y - 8 : y + 9, x - 8 : x + 9].astype(float), 3)
    gy, gx = np.gradient(patch)
    size = math.hypot(gx[8, 8], gy[8, 8])
    return (x, y, -gx[8, 8] / size, -gy[8, 8] / size) if size > 1e-6 else None


def _open(board: Mask, clean: Mask, tracks: list[_Track], rng: np.random.Generator) -> Mask | None:
    if (spot := _spot(tracks, rng)) is None:
        return None
    x, y, ux, uy, width = spot
    half = width / 2 + 2
    cut = _bar((x - uy * half, y + ux * half), (x + uy * half, y - ux * half), rng.uniform(8, 22))
    return board & ~cut


def _short(board: Mask, clean: Mask, tracks: list[_Track], rng: np.random.Generator) -> Mask | None:
    if (spot := _spot(tracks, rng)) is None:
        return None
    x, y, ux, uy, width = spot
    nx, ny = -uy, ux
    for gap in range(width // 2 + 3, width // 2 + 34):
        px, py = int(x + nx * gap), int(y + ny * gap)
        if not (8 <= px < SIDE - 8 and 8 <= py < SIDE - 8):
            return None
        if clean[py, px] and gap > width // 2 + 5:
            bar = _bar(
                (x + nx * (width / 2 - 3), y + ny * (width / 2 - 3)),
                (px + nx * 3, py + ny * 3),
                rng.uniform(6, 16),
            )
            return board | bar
    return None


def _mousebite(board: Mask, clean: Mask, tracks: list[_Track], rng: np.random.Generator) -> Mask | None:
    if (edge := _edge(clean, rng)) is None:
        return None
    x, y, nx, ny = edge
    r = rng.uniform(5, 10)
    bite = _blob(x - nx * r * 0.1, y - ny * r * 0.1, r, r * rng.uniform(0.8, 1.3), rng)
    changed = board & ~bite
    # A bite leaves the track connected; what it parts is an open.
    return changed if _parts(changed, bite) <= _parts(board, bite) else None


def _spur(board: Mask, clean: Mask, tracks: list[_Track], rng: np.random.Generator) -> Mask | None:
    if (edge := _edge(clean, rng)) is None:
        return None
    x, y, nx, ny = edge
    size = rng.uniform(8, 18)
    stub = _bar((x - 2 * nx, y - 2 * ny), (x + nx * size, y + ny * size), rng.uniform(5, 12))
    stub = stub | _blob(x + nx * size * 0.5, y + ny * size * 0.5, size * 0.5, size * 0.35, rng)
    own, _ = ndimage.label(clean)
    met = np.unique(own[stub])
    return board | stub if len(met[met > 0]) == 1 else None


def _copper(board: Mask, clean: Mask, tracks: list[_Track], rng: np.random.Generator) -> Mask | None:
    x, y = rng.uniform(25, SIDE - 25, 2)
    blob = _blob(x, y, rng.uniform(4.5, 15), rng.uniform(4.5, 12), rng)
    return None if (ndimage.binary_dilation(blob, iterations=3) & board).any() else board | blob


def _pin_hole(board: Mask, clean: Mask, tracks: list[_Track], rng: np.random.Generator) -> Mask | None:
    x, y = rng.uniform(25, SIDE - 25, 2)
    hole = _blob(x, y, rng.uniform(4, 9), rng.uniform(4, 9), rng)
    return (
        board & ~hole
        if ndimage.binary_dilation(hole, iterations=3)[board].sum()
        == ndimage.binary_dilation(hole, iterations=3).sum()
        else None
    )


def _parts(mask: Mask, around: Mask) -> int:
    rows, columns = ndimage.find_objects(around.astype(np.int8))[0]
    window = mask[max(0, rows.start - 12) : rows.stop + 12, max(0, columns.start - 12) : columns.stop + 12]
    return int(ndimage.label(window)[1])


_DRAW = {
    "open": _open,
    "short": _short,
    "mousebite": _mousebite,
    "spur": _spur,
    "copper": _copper,
    "pin-hole": _pin_hole,
}
