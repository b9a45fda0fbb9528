"""Three boards: a sensor node, a relay board with a ground pour, and a serial adapter."""

from collections.abc import Callable, Sequence
from functools import cache

import shapely
from shapely import Polygon
from shapely.ops import unary_union

from . import footprints as fp
from .artwork import Artwork, Pad, Stroke, text
from .router import route

POUR_CLEARANCE, THERMAL_GAP, THERMAL_SPOKE = 0.45, 0.3, 0.4  # mm


@cache
def sensor_node() -> Artwork:
    """Green, gold finish, no pour: microcontroller, USB power, regulator, two rows of pins."""
    v, g = "3V3", "GND"
    mcu = [
        *("D3", "USB-", g, v, g, v, "XT1", "XT2"),
        *("D5", "D6", "D7", "B0", "B1", "B2", "B3", "B4"),
        *("B5", v, "", "AREF", g, "", "A0", "A1"),
        *("A2", "A3", "SDA", "SCL", "RST", "RX", "TX", "USB+"),
    ]
    parts = [
        *(fp.mounting_hole(at, 2.2) for at in ((2.7, 2.7), (35.3, 2.7), (2.7, 25.3), (35.3, 25.3))),
        fp.micro_usb("J1", (2.7, 14.0), 0, ["VBUS", "DM", "DP", "", g]),
        fp.header("J2", (19.0, 25.6), 0, [g, v, "USB+", "TX", "RX", "A3", "A2", "A1"]),
        fp.header("J3", (19.0, 2.4), 0, [v, g, "D5", "D6", "D7", "B0", "B1", "B2"]),
        fp.header("J4", (35.4, 14.0), 90, [g, v, "SDA", "SCL"]),
        fp.tqfp32("U1", (21.5, 14.4), 0, mcu),
        fp.sot23("U2", (8.9, 20.4), 0, [g, v, "VBUS"]),
        fp.chip("C1", (5.2, 21.0), 90, [g, "VBUS"]),
        fp.chip("C2", (12.4, 20.8), 90, [g, v]),
        fp.chip("R1", (9.4, 14.9), 0, ["DP", "USB+"]),
        fp.chip("R2", (9.4, 12.3), 0, ["DM", "USB-"]),
        fp.crystal("Y1", (12.6, 8.6), 0, ["XT1", "XT2"]),
        fp.chip("C3", (8.9, 5.6), 0, [g, "XT1"]),
        fp.chip("C4", (16.1, 5.6), 180, [g, "XT2"]),
        fp.chip("C5", (14.5, 16.2), 90, [g, v]),
        fp.chip("C6", (28.8, 12.6), 90, [g, "AREF"]),
        fp.chip("R3", (31.4, 19.4), 90, [v, "SDA"]),
        fp.chip("R4", (28.9, 19.4), 90, [v, "SCL"]),
        fp.chip("R5", (24.8, 7.0), 0, ["B5", "LED"]),
        fp.chip("D1", (29.3, 7.0), 180, [g, "LED"]),
        fp.chip("R6", (19.5, 21.6), 0, [v, "RST"]),
        fp.chip("C7", (24.6, 21.6), 0, ["RST", g]),
    ]
    silk = [
        *text("SN-1 V1.2", 25.2, 4.6, 0.9),
        *_pin_names(["GND", "3V3", "D2", "TX", "RX", "A3", "A2", "A1"], 19.0, 23.6),
    ]
    return _finish("sensor_node", 38, 28, "green", "gold", parts, silk, {v: 0.4, "VBUS": 0.4})


@cache
def relay_board() -> Artwork:
    """Blue, tin finish, ground pour on the low-voltage side, none under the relay contacts."""
    v, g = "12V", "GND"
    parts = [
        *(fp.mounting_hole(at, 2.2) for at in ((2.7, 2.7), (35.3, 2.7), (2.7, 25.3), (35.3, 25.3))),
        fp.terminal("J1", (4.5, 15.5), 90, [g, v]),
        fp.terminal("J2", (33.4, 14.0), 270, ["NO", "COM", "NC"]),
        fp.relay("K1", (20.9, 20.4), 0, [v, "COIL", "COM", "NO", "NC"]),
        fp.chip("D1", (10.7, 20.4), 90, [v, "COIL"], "0805"),
        fp.sot23("Q1", (14.9, 11.6), 0, ["BASE", g, "COIL"]),
        fp.chip("R1", (11.2, 8.3), 0, ["OUT", "BASE"], "0805"),
        fp.soic("U1", (18.6, 5.4), 0, [g, "TRG", "OUT", v, "CTL", "TRG", "DIS", v]),
        fp.chip("C1", (23.6, 6.8), 90, [g, "CTL"], "0805"),
        fp.chip("R2", (11.2, 4.9), 0, ["TRG", "DIS"], "0805"),
        fp.radial("C2", (10.9, 13.9), 90, [v, g], 5.0),
        fp.chip("R3", (6.9, 6.9), 90, [v, "DIS"], "0805"),
        fp.chip("C3", (27.5, 6.8), 90, [g, "TRG"], "0805"),
        fp.chip("R4", (23.6, 2.3), 0, ["OUT", "LED"], "0805"),
        fp.chip("D2", (28.9, 2.3), 180, [g, "LED"], "0805"),
    ]
    silk = [*text("RELAY 10A 250V", 20.9, 27.2, 0.9), *text("12V DC", 4.5, 21.6, 0.9)]
    board = _finish(
        "relay_board", 38, 28, "blue", "tin", parts, silk, {"COM": 1.5, "NO": 1.5, "NC": 1.5, v: 0.5, "COIL": 0.5}
    )
    area = shapely.Polygon(
        [(0.5, 0.5), (37.5, 0.5), (37.5, 5.0), (31.0, 5.0), (27.0, 10.5), (19.0, 10.5), (19.0, 27.5), (0.5, 27.5)]
    )
    return _pour(board, area.intersection(shapely.box(0.5, 0.5, 37.5, 27.5)))


@cache
def serial_adapter() -> Artwork:
    """Black, gold finish, no pour: two interface chips, a DIP socket and a 2 x 5 header."""
    v, g = "5V", "GND"
    parts = [
        *(fp.mounting_hole(at, 2.2) for at in ((2.7, 2.7), (35.3, 2.7), (2.7, 25.3), (35.3, 25.3))),
        fp.header("J1", (3.4, 14.0), 90, [v, g, "TXD", "RXD", "RTS", "CTS"]),
        fp.soic(
            "U1",
            (14.0, 19.6),
            0,
            ["C1P", "VP", "C1N", "C2P", "C2N", "VN", "T2O", "R2I", "CTS", "RTS", "TXD", "RXD", "R1I", "T1O", g, v],
        ),
        fp.dip("U2", (14.6, 8.8), 0, ["ROP", "REN", "DEN", "DIP", g, "A", "B", v]),
        fp.header("J2", (26.6, 24.4), 0, ["T1O", "R1I", "T2O", "R2I"]),
        fp.terminal("J3", (33.4, 11.2), 90, ["A", "B"]),
        fp.chip("C1", (9.2, 14.5), 0, ["C1P", "C1N"]),
        fp.chip("C2", (14.2, 14.5), 0, ["C2P", "C2N"]),
        fp.chip("C3", (20.6, 16.0), 90, [g, "VP"]),
        fp.chip("C4", (23.2, 16.0), 90, [g, "VN"]),
        fp.chip("C5", (8.2, 24.9), 0, [g, v]),
        fp.chip("R1", (24.0, 9.2), 90, ["A", "B"]),
        fp.chip("R2", (27.0, 9.2), 90, ["A", v]),
        fp.chip("R3", (21.6, 9.2), 90, ["B", g]),
        fp.sot23("Q1", (27.2, 17.2), 0, ["BAS", g, "DEN"]),
        fp.chip("R4", (33.0, 18.6), 0, ["RTS", "BAS"]),
        fp.chip("D1", (9.0, 3.1), 0, [g, "LED"]),
        fp.chip("R5", (14.4, 2.6), 0, ["LED", "ROP"]),
        fp.chip("R6", (21.0, 3.0), 0, ["DIP", "TXD"]),
        fp.chip("R7", (28.2, 3.0), 0, ["REN", "DEN"]),
    ]
    silk = [*text("A", 29.0, 8.7, 0.9), *text("B", 29.0, 13.7, 0.9)]
    return _finish("serial_adapter", 38, 28, "black", "gold", parts, silk, {v: 0.4})


DESIGNS: dict[str, Callable[[], Artwork]] = {
    "design_a": sensor_node,
    "design_b": relay_board,
    "design_c": serial_adapter,
}


def _pin_names(names: Sequence[str], cx: float, y: float) -> list[Stroke]:
    left = cx - 2.54 * (len(names) - 1) / 2
    return [stroke for i, name in enumerate(names) for stroke in text(name, left + 2.54 * i, y, 0.7)]


def _finish(
    name: str,
    width: float,
    height: float,
    mask: str,
    finish: str,
    parts: Sequence[fp.Part],
    silk: Sequence[Stroke],
    widths: dict[str, float] | None = None,
) -> Artwork:
    """Put the parts on a board and route it."""
    board = Artwork(
        name,
        width,
        height,
        mask,
        finish,
        pads=tuple(pad for part in parts for pad in part.pads),
        holes=tuple(hole for part in parts for hole in part.holes),
        silk=tuple(stroke for part in parts for stroke in part.silk) + tuple(silk),
    )
    board = route(board, widths=widths)
    labels: list[Stroke] = []
    for part in parts:
        labels += _label(part, board, labels)
    return board.edited(silk=(*board.silk, *labels))


def _label(part: fp.Part, board: Artwork, labels: Sequence[Stroke]) -> Sequence[Stroke]:
    """Write a part's reference upright beside or inside it, where it meets no pad, via or other legend."""
    if not part.ref:
        return ()
    occupied = [pad.copper.buffer(0.2) for pad in (*board.pads, *board.vias)]
    occupied += [shapely.LineString(s.points).buffer(s.width / 2 + 0.1) for s in (*board.silk, *labels)]
    taken = unary_union(occupied)
    x0, y0, x1, y1 = shapely.MultiPoint([p for s in part.silk for p in s.points]).bounds
    cx, cy, w, h = (x0 + x1) / 2, (y0 + y1) / 2, 0.42 * len(part.ref) + 0.25, 0.75
    outside = [(cx, y1 + h), (cx, y0 - h), (x0 - w, cy), (x1 + w, cy)]
    shifted = [
        (x + dx, y + dy) for d in (0.5, 1.0, 1.6) for x, y in outside for dx, dy in ((d, 0), (-d, 0), (0, d), (0, -d))
    ]
    inside = shapely.box(0.4, 0.4, board.width - 0.4, board.height - 0.4)
    for x, y in [*([(cx, cy), (cx + 1.5, cy)] if part.centred else []), *outside, *shifted]:
        strokes = text(part.ref, x, y, 0.9)
        ink = unary_union([shapely.LineString(s.points).buffer(s.width / 2) for s in strokes])
        if inside.contains(ink) and not ink.intersects(taken):
            return strokes
    raise RuntimeError(f"{board.name}: no room for the label of {part.ref}")


def _pour(board: Artwork, area: Polygon, net: str = "GND") -> Artwork:
    """Fill `area` with copper of `net`, clear of other nets, with thermal spokes at its own pads."""
    others = [shape.buffer(POUR_CLEARANCE, 12) for name, shape in board.top_copper() if name != net]
    others += [shapely.Point(h.x, h.y).buffer(h.diameter / 2 + 0.6, 12) for h in board.holes]
    blocked = unary_union(others)
    own = [pad for pad in board.pads if pad.net == net]
    copper = area.difference(unary_union([blocked, *(pad.copper.buffer(THERMAL_GAP, 12) for pad in own)]))
    copper = copper.buffer(-0.125).buffer(0.125)
    # A spoke that finds no pour at its end would dangle like a spur: leave it out.
    arms = [arm for pad in own for arm in _thermal_arms(pad)]
    arms = [arm for arm in arms if not arm.intersects(blocked) and arm.intersection(copper).area > 0.01]
    copper = unary_union([copper, *arms])
    # Slivers thinner than 0.25 mm cannot be etched reliably; islands without a via would float.
    copper = copper.buffer(-0.125).buffer(0.125).simplify(0.004)
    vias = [shapely.Point(via.x, via.y) for via in board.vias if via.net == net]
    pieces = sorted(shapely.get_parts(copper), key=lambda p: (-p.area, p.bounds))
    return board.edited(pour=tuple(p for p in pieces if any(p.distance(v) < 0.1 for v in vias)))


def _thermal_arms(pad: Pad) -> list[Polygon]:
    """Return the four spokes from the middle of a pad to just beyond its thermal gap."""
    x, y, half = pad.x, pad.y, THERMAL_SPOKE / 2
    right, up = pad.w / 2 + THERMAL_GAP + 0.15, pad.h / 2 + THERMAL_GAP + 0.15
    return [
        shapely.box(x, y - half, x + right, y + half),
        shapely.box(x - right, y - half, x, y + half),
        shapely.box(x - half, y, x + half, y + up),
        shapely.box(x - half, y - up, x + half, y),
    ]
