"""Planted fabrication defects: seeded edits of the artwork, checked against the layout."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import LineString, Polygon, box
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from .artwork import MASK_MARGIN, Artwork, Point, Track

KINDS = ("missing_hole", "mouse_bite", "open_circuit", "short", "spur", "spurious_copper")
GAP = 0.12  # free laminate left between an added piece of copper and copper it must not touch, mm
APART = 4.0  # distance between two defects on one board, mm
WIDE = 0.8  # a bite of half the width of a wider track would be no small defect, mm
ATTEMPTS = 4000


@dataclass(frozen=True)
class Planted:
    """One defect: its kind and its middle in mm."""

    kind: str
    at: Point


@dataclass(frozen=True)
class _Site:
    """Shapes that every placement asks about."""

    copper: list[tuple[str, BaseGeometry]]
    all_copper: BaseGeometry
    hidden: BaseGeometry  # mask openings, holes and legend: a defect is planted clear of them
    inner: BaseGeometry

    def touched(self, shape: BaseGeometry) -> set[str]:
        """Return the nets whose copper meets `shape`."""
        return {net for net, piece in self.copper if piece.intersects(shape)}


def plant(board: Artwork, kind: str, seed: int, taken: tuple[Planted, ...] = ()) -> tuple[Artwork, Planted]:
    """Return the board with one defect of this kind, at least 4 mm from those already `taken`.

    Raises ValueError for an unknown kind and RuntimeError where the layout has no room for it.
    """
    makers = dict(zip(KINDS, (_missing_hole, _mouse_bite, _open_circuit, _short, _spur, _spurious_copper), strict=True))
    if kind not in makers:
        raise ValueError(f"unknown defect {kind!r}; known: {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    site = _site(board)
    for _ in range(ATTEMPTS):
        made = makers[kind](board, site, rng)
        if made and all(math.dist(made[1], other.at) >= APART for other in taken):
            return made[0], Planted(kind, made[1])
    raise RuntimeError(f"{board.name}: no place found for {kind} with seed {seed}")


def _site(board: Artwork) -> _Site:
    copper = board.top_copper()
    openings = [pad.copper.buffer(MASK_MARGIN + 0.25) for pad in (*board.pads, *board.vias)]
    holes = [shapely.Point(h.x, h.y).buffer(h.diameter / 2 + 0.4) for h in board.holes]
    legend = [LineString(s.points).buffer(s.width / 2 + 0.12) for s in board.silk]
    return _Site(
        copper,
        unary_union([piece for _, piece in copper]),
        unary_union([*openings, *holes, *legend]),
        box(1.0, 1.0, board.width - 1.0, board.height - 1.0),
    )


Made = tuple[Artwork, Point] | None


def _missing_hole(board: Artwork, site: _Site, rng: np.random.Generator) -> Made:
    """Drop one plated hole from the drill file: a via or a component lead."""
    group = board.vias if rng.random() < 0.5 else [pad for pad in board.pads if pad.drill]
    pad = group[rng.integers(len(group))]
    return board.edited(undrilled=(*board.undrilled, (pad.x, pad.y))), (pad.x, pad.y)


def _on_track(board: Artwork, rng: np.random.Generator, length: float) -> Iterator[tuple[Track, Point, Point]]:
    """Yield one top track with a point on it and its direction, away from the ends by `length` mm."""
    tracks = [t for t in board.tracks if t.layer == 0 and math.dist(t.a, t.b) > 2 * length + 0.1]
    lengths = np.array([math.dist(t.a, t.b) for t in tracks])
    track = tracks[rng.choice(len(tracks), p=lengths / lengths.sum())]
    size = math.dist(track.a, track.b)
    along = rng.uniform(length, size - length)
    ux, uy = (track.b[0] - track.a[0]) / size, (track.b[1] - track.a[1]) / size
    yield track, (track.a[0] + ux * along, track.a[1] + uy * along), (ux, uy)


def _ragged(outline: list[Point], rng: np.random.Generator, by: float) -> Polygon:
    """Return a polygon whose edge wobbles as etched copper does, by up to `by` mm."""
    smooth = Polygon(outline).segmentize(0.05)
    ring = list(smooth.exterior.coords)[:-1]
    noise = rng.normal(0, 1, len(ring))
    noise = np.convolve(np.r_[noise[-3:], noise, noise[:3]], np.hanning(9)[1:-1] / 2.5, "valid") * by
    cx, cy = smooth.centroid.x, smooth.centroid.y
    moved = []
    for (x, y), n in zip(ring, noise, strict=True):
        r = math.hypot(x - cx, y - cy) or 1.0
        moved.append((round(x + (x - cx) / r * n, 4), round(y + (y - cy) / r * n, 4)))
    shape = Polygon(moved).buffer(0)
    return max(shapely.get_parts(shape), key=lambda p: p.area) if shape.geom_type != "Polygon" else shape


def _mouse_bite(board: Artwork, site: _Site, rng: np.random.Generator) -> Made:
    """Etch a bite out of a track's edge, leaving 35 to 50 % of its width."""
    for track, (x, y), (ux, uy) in _on_track(board, rng, 0.6):
        if track.width > WIDE:
            return None
        side = 1 if rng.random() < 0.5 else -1
        nx, ny = -uy * side, ux * side
        depth = track.width * rng.uniform(0.5, 0.65)
        half = max(0.17, depth * rng.uniform(0.7, 1.0))
        edge = track.width / 2
        arc = [math.pi * i / 12 for i in range(13)]
        outline = [
            (
                x + ux * half * math.cos(t) + nx * (edge - depth * math.sin(t)),
                y + uy * half * math.cos(t) + ny * (edge - depth * math.sin(t)),
            )
            for t in arc
        ]
        outline += [(x - ux * half + nx * (edge + 0.08), y - uy * half + ny * (edge + 0.08))]
        outline += [(x + ux * half + nx * (edge + 0.08), y + uy * half + ny * (edge + 0.08))]
        bite = _ragged(outline, rng, 0.02)
        # Only this one track may lose copper: no corner, branch or pour beside it.
        others = unary_union([t.copper for t in board.tracks if t.layer == 0 and t is not track])
        if bite.intersects(site.hidden) or bite.intersects(others) or not site.inner.contains(bite):
            return None
        if any(bite.intersects(p) for p in board.pour):
            return None
        return board.edited(removed=(*board.removed, bite)), (x + nx * edge, y + ny * edge)
    return None


def _bar(a: Point, b: Point, start: float, end: float, rng: np.random.Generator) -> Polygon:
    """Return a ragged bar from a to b, `start` mm wide at a and `end` at b."""
    size = math.dist(a, b)
    nx, ny = -(b[1] - a[1]) / size, (b[0] - a[0]) / size
    corners = [
        (p[0] + s * w / 2 * nx, p[1] + s * w / 2 * ny)
        for p, w, s in ((a, start, 1), (b, end, 1), (b, end, -1), (a, start, -1))
    ]
    return _ragged(corners, rng, 0.025)


def _open_circuit(board: Artwork, site: _Site, rng: np.random.Generator) -> Made:
    """Cut a track through with a gap of 0.2 to 0.4 mm."""
    for track, (x, y), (ux, uy) in _on_track(board, rng, 0.8):
        half, wide = rng.uniform(0.2, 0.4) / 2, track.width + 0.16
        gap = _bar((x - ux * half, y - uy * half), (x + ux * half, y + uy * half), wide, wide, rng)
        rest = [t.copper for t in board.tracks if t is not track and t.layer == 0]
        rest += list(board.pour)
        if gap.intersects(site.hidden) or any(gap.intersects(piece) for piece in rest):
            return None
        return board.edited(removed=(*board.removed, gap)), (x, y)
    return None


def _short(board: Artwork, site: _Site, rng: np.random.Generator) -> Made:
    """Bridge two neighbouring pieces of copper of different nets, at most 0.9 mm apart."""
    for track, (x, y), (ux, uy) in _on_track(board, rng, 0.3):
        side = 1 if rng.random() < 0.5 else -1
        nx, ny = -uy * side, ux * side
        edge = track.width / 2
        ray = LineString([(x + nx * edge, y + ny * edge), (x + nx * (edge + 0.9), y + ny * (edge + 0.9))])
        hits = [
            (ray.intersection(piece).distance(shapely.Point(x, y)), net)
            for net, piece in site.copper
            if net != track.net and ray.intersects(piece)
        ]
        if not hits:
            return None
        reach, net = min(hits)
        width = rng.uniform(0.16, 0.26)
        bar = _bar(
            (x + nx * (edge - 0.06), y + ny * (edge - 0.06)),
            (x + nx * (reach + 0.1), y + ny * (reach + 0.1)),
            width,
            width * rng.uniform(0.8, 1.3),
            rng,
        )
        if bar.intersects(site.hidden) or site.touched(bar) != {track.net, net} or "" in (net, track.net):
            return None
        middle = (edge + reach) / 2
        return board.edited(added=(*board.added, bar)), (x + nx * middle, y + ny * middle)
    return None


def _spur(board: Artwork, site: _Site, rng: np.random.Generator) -> Made:
    """Grow a stub of 0.28 to 0.55 mm from a track's edge that reaches no other copper."""
    for track, (x, y), (ux, uy) in _on_track(board, rng, 0.6):
        side = 1 if rng.random() < 0.5 else -1
        nx, ny = -uy * side, ux * side
        edge, lean = track.width / 2, rng.uniform(-0.3, 0.3)
        length = rng.uniform(0.28, 0.55)
        tip = (x + nx * (edge + length) + ux * lean * length, y + ny * (edge + length) + uy * lean * length)
        stub = _bar(
            (x + nx * (edge - 0.06), y + ny * (edge - 0.06)), tip, rng.uniform(0.22, 0.3), rng.uniform(0.1, 0.16), rng
        )
        free = stub.buffer(GAP)
        others = [piece for t in board.tracks if t is not track and t.layer == 0 for piece in [t.copper]]
        others += list(board.pour)
        if free.intersects(site.hidden) or any(free.intersects(p) for p in others) or not site.inner.contains(stub):
            return None
        return board.edited(added=(*board.added, stub)), (x + nx * (edge + length / 2), y + ny * (edge + length / 2))
    return None


def _spurious_copper(board: Artwork, site: _Site, rng: np.random.Generator) -> Made:
    """Leave an island of copper, 0.25 to 0.6 mm across, on bare laminate between conductors."""
    x, y = rng.uniform(1.5, board.width - 1.5), rng.uniform(1.5, board.height - 1.5)
    a, b, turn = rng.uniform(0.14, 0.3), rng.uniform(0.12, 0.22), rng.uniform(0, math.pi)
    steps = [2 * math.pi * i / 24 for i in range(24)]
    outline = [
        (
            x + a * math.cos(t) * math.cos(turn) - b * math.sin(t) * math.sin(turn),
            y + a * math.cos(t) * math.sin(turn) + b * math.sin(t) * math.cos(turn),
        )
        for t in steps
    ]
    island = _ragged(outline, rng, 0.05)
    if island.buffer(GAP).intersects(site.all_copper) or island.buffer(0.1).intersects(site.hidden):
        return None
    # Residue stays where the etchant flows badly: near other copper, not in the open.
    if island.distance(site.all_copper) > 0.8:
        return None
    return board.edited(added=(*board.added, island)), (x, y)
