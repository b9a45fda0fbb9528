"""From artwork to Gerber and Excellon files, and from those files to a picture of the top side."""

import io
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
import resvg_py
from gerbonara import ExcellonFile, GerberFile, LayerStack
from gerbonara.apertures import Aperture, CircleAperture, ExcellonTool, ObroundAperture, RectangleAperture
from gerbonara.graphic_objects import Flash, Line, Region
from gerbonara.utils import MM
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from shapely import Polygon

from .artwork import MASK_MARGIN, Artwork, Pad, Point

PX_PER_MM = 36.0
MARGIN = 0.45  # background shown around the board, mm
Bounds = tuple[float, float, float, float]  # x0, y0, x1, y1 in mm


@dataclass(frozen=True)
class Colours:
    """Colours of one kind of board as 0-255 RGB."""

    laminate: tuple[int, int, int]  # solder mask on bare laminate
    copper: tuple[int, int, int]  # solder mask on copper
    silk: tuple[int, int, int] = (236, 238, 232)


MASKS = {
    "green": Colours((14, 66, 38), (38, 118, 62)),
    "blue": Colours((13, 36, 92), (34, 78, 158)),
    "black": Colours((24, 25, 28), (70, 72, 76)),
}
FINISHES = {"gold": (222, 184, 102), "tin": (196, 200, 202)}
FR4, HOLE, BENCH = (166, 150, 96), (17, 17, 18), (206, 208, 210)


@cache
def _circle(diameter: float) -> CircleAperture:
    return CircleAperture(diameter, unit=MM)


@cache
def _pad_aperture(w: float, h: float, shape: str) -> Aperture:
    if shape == "rect":
        return RectangleAperture(w, h, unit=MM)
    return _circle(w) if w == h else ObroundAperture(w, h, unit=MM)


@cache
def _tool(diameter: float, plated: bool) -> ExcellonTool:
    return ExcellonTool(diameter, plated=plated, unit=MM)


def _flash(pad: Pad, grow: float = 0.0, dark: bool = True) -> Flash:
    aperture = _pad_aperture(round(pad.w + 2 * grow, 4), round(pad.h + 2 * grow, 4), pad.shape)
    return Flash(pad.x, pad.y, aperture, unit=MM, polarity_dark=dark)


def _line(a: Point, b: Point, width: float) -> Line:
    return Line(*a, *b, _circle(width), unit=MM)


def _regions(polygon: Polygon, dark: bool = True) -> list[Region]:
    rings = [(polygon.exterior, dark), *((hole, not dark) for hole in polygon.interiors)]
    return [Region([(float(x), float(y)) for x, y in ring.coords], unit=MM, polarity_dark=d) for ring, d in rings]


def fabrication_data(board: Artwork) -> LayerStack:
    """Return the board's Gerber layers and drill files."""
    layers: dict[tuple[str, str], GerberFile] = {}
    for side, number in (("top", 0), ("bottom", 1)):
        copper: list[object] = []
        if number == 0:
            copper += [region for polygon in board.pour for region in _regions(polygon)]
        copper += [_line(t.a, t.b, t.width) for t in board.tracks if t.layer == number]
        copper += [_flash(p) for p in (*board.pads, *board.vias) if number == 0 or p.drill]
        if number == 0:
            copper += [region for polygon in board.added for region in _regions(polygon)]
            copper += [region for polygon in board.removed for region in _regions(polygon, dark=False)]
        layers[side, "copper"] = GerberFile(copper)
        mask: list[object] = [_flash(p, MASK_MARGIN) for p in (*board.pads, *board.vias) if number == 0 or p.drill]
        mask += [Flash(h.x, h.y, _circle(round(h.diameter + 0.2, 4)), unit=MM) for h in board.holes]
        layers[side, "mask"] = GerberFile(mask)
    silk: list[object] = [_line(a, b, stroke.width) for stroke in board.silk for a, b in pairwise(stroke.points)]
    # Fabricators clip the legend where it would fall on a mask opening.
    silk += [_flash(p, 0.12, dark=False) for p in (*board.pads, *board.vias)]
    layers["top", "silk"] = GerberFile(silk)
    layers["mechanical", "outline"] = GerberFile(_outline(board))
    plated = [
        Flash(p.x, p.y, _tool(p.drill, True), unit=MM)
        for p in (*board.pads, *board.vias)
        if p.drill and (p.x, p.y) not in board.undrilled
    ]
    free = [Flash(h.x, h.y, _tool(h.diameter, False), unit=MM) for h in board.holes]
    return LayerStack(layers, ExcellonFile(plated), ExcellonFile(free), board_name=board.name)


def _outline(board: Artwork) -> list[Line]:
    corners = [(0.0, 0.0), (board.width, 0.0), (board.width, board.height), (0.0, board.height), (0.0, 0.0)]
    return [_line(a, b, 0.1) for a, b in pairwise(corners)]


@lru_cache(maxsize=64)
def _coverage(data: str, excellon: bool, bounds: Bounds, px_per_mm: float) -> NDArray[np.float32]:
    """Return how much of each pixel (H, W) a Gerber or Excellon file with this text covers, 0-1."""
    x0, y0, x1, y1 = bounds
    layer = (ExcellonFile if excellon else GerberFile).from_string(data)
    svg = str(layer.to_svg(force_bounds=((x0, y0), (x1, y1)), arg_unit=MM, svg_unit=MM, fg="white", bg="black"))
    width, height = round((x1 - x0) * px_per_mm), round((y1 - y0) * px_per_mm)
    png = resvg_py.svg_to_bytes(svg_string=svg, width=width, height=height, dpi=96, skip_system_fonts=True)
    grey = np.asarray(Image.open(io.BytesIO(png)).convert("L"), np.float32)
    return grey / np.float32(255)


def render(board: Artwork, px_per_mm: float = PX_PER_MM, bounds: Bounds | None = None) -> Image.Image:
    """Draw the top side from the board's fabrication data; `bounds` in mm selects a part of it."""
    stack = fabrication_data(board)
    window = bounds or (-MARGIN, -MARGIN, board.width + MARGIN, board.height + MARGIN)

    def cover(layer: GerberFile | ExcellonFile) -> NDArray[np.float32]:
        return _coverage(layer.write_to_bytes().decode(), isinstance(layer, ExcellonFile), window, px_per_mm)

    copper, opening = cover(stack["top copper"]), cover(stack["top mask"])
    silk, plated, free = cover(stack["top silk"]), cover(stack.drill_pth), cover(stack.drill_npth)
    colours = MASKS[board.mask]
    fine = px_per_mm / PX_PER_MM

    def rgb(colour: tuple[int, int, int]) -> NDArray[np.float32]:
        return np.array(colour, np.float32)

    def over(
        below: NDArray[np.float32], colour: NDArray[np.float32], alpha: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        return below + alpha[..., None] * (colour - below)

    # The mask lies like lacquer over the copper: light from the upper left brightens one flank and
    # darkens the other.
    soft = ndimage.gaussian_filter(copper, 0.8 * fine, truncate=2.5)
    slope = ndimage.sobel(soft, 0) + ndimage.sobel(soft, 1)
    picture = over(np.broadcast_to(rgb(colours.laminate), (*copper.shape, 3)), rgb(colours.copper), copper)
    picture = picture * (1 + 0.07 * np.clip(slope * fine, -4, 4))[..., None]
    bare = over(np.broadcast_to(rgb(FR4), picture.shape), rgb(FINISHES[board.finish]), copper)
    bare = bare * (1 + 0.05 * np.clip(slope * fine, -4, 4))[..., None]
    picture = picture + opening[..., None] * (bare - picture)
    picture = over(picture, rgb(colours.silk), silk * np.float32(0.94) * (1 - opening))
    # The plated wall of a hole catches little light: a thin darker ring, then the dark hole.
    wall = np.clip(ndimage.gaussian_filter(plated, 1.2 * fine, truncate=2.5) * 1.5, 0, 1)
    picture = picture * (1 - 0.35 * wall)[..., None]
    picture = over(picture, rgb(HOLE), np.maximum(plated, free))
    inside = _inside(board, window, px_per_mm)
    picture = over(np.broadcast_to(rgb(BENCH), picture.shape), picture, inside) if inside.min() < 1 else picture
    return Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def _inside(board: Artwork, bounds: Bounds, px_per_mm: float) -> NDArray[np.float32]:
    """Return which pixels (H, W) lie on the board."""
    area = GerberFile(_regions(Polygon([(0, 0), (board.width, 0), (board.width, board.height), (0, board.height)])))
    return _coverage(area.write_to_bytes().decode(), False, bounds, px_per_mm)
