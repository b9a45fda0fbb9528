"""Board artwork: pads, tracks, holes and silkscreen in millimetres, origin bottom left, y up."""

from dataclasses import dataclass, field, replace

import shapely
from gerbonara.newstroke import Newstroke
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

Point = tuple[float, float]

TRACK = 0.25  # signal track width, mm
CLEARANCE = 0.2  # copper to copper, mm
VIA_DIAMETER, VIA_DRILL = 0.75, 0.38  # mm
MASK_MARGIN = 0.05  # solder mask opening beyond the pad, mm
SILK = 0.15  # silkscreen stroke width, mm


@dataclass(frozen=True)
class Pad:
    """One pad, centred at (x, y), size w by h in mm; `drill` in mm makes it a plated through hole."""

    x: float
    y: float
    w: float
    h: float
    net: str = ""
    drill: float = 0.0
    shape: str = "rect"  # rect or obround; an obround of equal sides is a circle

    @property
    def copper(self) -> BaseGeometry:
        """Return the outline of the pad's copper."""
        if self.shape == "rect":
            return shapely.box(self.x - self.w / 2, self.y - self.h / 2, self.x + self.w / 2, self.y + self.h / 2)
        radius, dx, dy = min(self.w, self.h) / 2, max(0, self.w - self.h) / 2, max(0, self.h - self.w) / 2
        if dx == dy == 0:
            return shapely.Point(self.x, self.y).buffer(radius)
        return shapely.LineString([(self.x - dx, self.y - dy), (self.x + dx, self.y + dy)]).buffer(radius)


@dataclass(frozen=True)
class Track:
    """One straight piece of track with round ends; `layer` 0 is the top, 1 the bottom."""

    a: Point
    b: Point
    net: str
    layer: int = 0
    width: float = TRACK

    @property
    def copper(self) -> BaseGeometry:
        """Return the outline of the track's copper."""
        return shapely.LineString([self.a, self.b]).buffer(self.width / 2)


@dataclass(frozen=True)
class Hole:
    """One unplated hole, diameter in mm."""

    x: float
    y: float
    diameter: float


@dataclass(frozen=True)
class Stroke:
    """One silkscreen polyline with its width in mm."""

    points: tuple[Point, ...]
    width: float = SILK


@dataclass(frozen=True)
class Artwork:
    """Everything a fabricator needs for one board; a defect is an edited copy of it."""

    name: str
    width: float
    height: float
    mask: str
    finish: str
    pads: tuple[Pad, ...] = ()
    vias: tuple[Pad, ...] = ()
    tracks: tuple[Track, ...] = ()
    holes: tuple[Hole, ...] = ()
    silk: tuple[Stroke, ...] = ()
    pour: tuple[Polygon, ...] = ()
    added: tuple[Polygon, ...] = field(default=())
    removed: tuple[Polygon, ...] = field(default=())
    undrilled: tuple[Point, ...] = field(default=())

    def edited(self, **changes: object) -> "Artwork":
        """Return a copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def top_copper(self) -> list[tuple[str, BaseGeometry]]:
        """Return (net, outline) of every piece of copper on the top side, the pour as net GND."""
        items = [(pad.net, pad.copper) for pad in (*self.pads, *self.vias)]
        items += [(track.net, track.copper) for track in self.tracks if track.layer == 0]
        return items + [("GND", polygon) for polygon in self.pour]


def text(words: str, x: float, y: float, size: float = 1.0, rotation: float = 0.0) -> tuple[Stroke, ...]:
    """Return silkscreen strokes of `words` centred at (x, y), letters `size` mm high."""
    strokes = [list(line) for line in Newstroke.load().render(words, size=size, scale=(1, -1), h_align="left")]
    points = [point for line in strokes for point in line]
    cx = (min(p[0] for p in points) + max(p[0] for p in points)) / 2
    cy = (min(p[1] for p in points) + max(p[1] for p in points)) / 2
    # scale=(1, -1) draws y downwards, as a screen does; the artwork's y points up.
    turned = [
        tuple((x - (py - cy) * s + (px - cx) * c, y + (py - cy) * c + (px - cx) * s) for px, py in line)
        for s, c in [(1.0, 0.0) if rotation else (0.0, 1.0)]
        for line in strokes
    ]
    return tuple(Stroke(line, round(0.15 * size, 3)) for line in turned if len(line) > 1)
