"""Land patterns of common parts; sizes follow IPC-7351 (nominal density) rounded to 0.05 mm."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import shapely

from .artwork import Hole, Pad, Point, Stroke


@dataclass(frozen=True)
class Part:
    """A placed part: pads, unplated holes and silkscreen, in board coordinates."""

    pads: tuple[Pad, ...]
    silk: tuple[Stroke, ...] = ()
    holes: tuple[Hole, ...] = ()
    ref: str = ""
    centred: bool = False  # room for the reference inside the outline


def _place(
    ref: str,
    at: Point,
    rotation: int,
    pads: Sequence[Pad],
    lines: Sequence[Sequence[Point]] = (),
    holes: Sequence[Hole] = (),
    centred: bool = False,
) -> Part:
    """Turn a land pattern by 0, 90, 180 or 270 degrees and move it."""
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][rotation // 90]

    def move(x: float, y: float) -> Point:
        return round(at[0] + x * cos - y * sin, 4), round(at[1] + x * sin + y * cos, 4)

    turned = []
    for pad in pads:
        x, y = move(pad.x, pad.y)
        w, h = (pad.h, pad.w) if sin else (pad.w, pad.h)
        turned.append(replace(pad, x=x, y=y, w=w, h=h))
    silk = [Stroke(tuple(move(*p) for p in line)) for line in lines]
    return Part(tuple(turned), tuple(silk), tuple(Hole(*move(h.x, h.y), h.diameter) for h in holes), ref, centred)


def box(w: float, h: float) -> list[Point]:
    """Return a closed rectangle around the origin."""
    return [(-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2), (-w / 2, -h / 2)]


def chip(ref: str, at: Point, rotation: int, nets: Sequence[str], size: str = "0603") -> Part:
    """Two-terminal chip: resistor, capacitor or LED, 0603 or 0805."""
    pitch, w, h = {"0603": (1.6, 0.85, 0.95), "0805": (1.9, 1.05, 1.4)}[size]
    pads = [Pad(-pitch / 2, 0, w, h, nets[0]), Pad(pitch / 2, 0, w, h, nets[1])]
    edge, side = pitch / 2 + w / 2 + 0.25, h / 2 + 0.25
    lines = [[(-edge, side), (edge, side)], [(-edge, -side), (edge, -side)]]
    lines += [[(-edge, side), (-edge, -side)], [(edge, side), (edge, -side)]]
    if ref.startswith("D"):  # the cathode, pad 1, is marked
        lines.append([(-edge - 0.3, side), (-edge - 0.3, -side)])
    return _place(ref, at, rotation, pads, lines)


def sot23(ref: str, at: Point, rotation: int, nets: Sequence[str]) -> Part:
    """Three-terminal SOT-23: pins 1 and 2 below, 3 above."""
    pads = [Pad(x, y, 0.7, 1.1, net) for (x, y), net in zip([(-0.95, -1.1), (0.95, -1.1), (0, 1.1)], nets, strict=True)]
    lines = [[(-1.5, -0.35), (-1.5, 0.7), (-0.6, 0.7)], [(1.5, -0.35), (1.5, 0.7), (0.6, 0.7)]]
    return _place(ref, at, rotation, pads, lines)


def soic(ref: str, at: Point, rotation: int, nets: Sequence[str]) -> Part:
    """SOIC, 1.27 mm pitch; pin 1 lower left, counted anticlockwise (lower row, then upper row backwards)."""
    half = len(nets) // 2
    left = -1.27 * (half - 1) / 2
    pads = [Pad(left + 1.27 * i, -2.7, 0.6, 1.6, nets[i]) for i in range(half)]
    pads += [Pad(left + 1.27 * i, 2.7, 0.6, 1.6, nets[len(nets) - 1 - i]) for i in range(half)]
    edge = -left + 0.6
    lines = [
        [(-edge, 1.6), (edge, 1.6), (edge, -1.6), (-edge, -1.6), (-edge, -0.5)],
        [(-edge, -0.5), (-edge + 0.5, -0.35), (-edge + 0.65, 0.0), (-edge + 0.5, 0.35), (-edge, 0.5), (-edge, 1.6)],
    ]
    return _place(ref, at, rotation, pads, lines, centred=True)


def tqfp32(ref: str, at: Point, rotation: int, nets: Sequence[str]) -> Part:
    """TQFP-32, 0.8 mm pitch, 7 mm body; pin 1 upper left, counted anticlockwise."""
    run = [2.8 - 0.8 * i for i in range(8)]
    pads = [Pad(-4.25, y, 1.5, 0.45, n) for y, n in zip(run, nets[:8], strict=True)]
    pads += [Pad(-y, -4.25, 0.45, 1.5, n) for y, n in zip(run, nets[8:16], strict=True)]
    pads += [Pad(4.25, -y, 1.5, 0.45, n) for y, n in zip(run, nets[16:24], strict=True)]
    pads += [Pad(y, 4.25, 0.45, 1.5, n) for y, n in zip(run, nets[24:], strict=True)]
    c, e = 3.5, 3.2
    lines: list[list[Point]] = [
        [(e, c), (c, c), (c, e)],
        [(c, -e), (c, -c), (e, -c)],
        [(-e, -c), (-c, -c), (-c, -e)],
        [(-e, c), (-c, e), (-5.0, e)],
    ]
    return _place(ref, at, rotation, pads, lines, centred=True)


def header(ref: str, at: Point, rotation: int, nets: Sequence[str], rows: int = 1) -> Part:
    """Pin header, 2.54 mm pitch, pin 1 square, pins to the right; of two rows the odd pins are below."""
    columns = len(nets) // rows
    left, low = -2.54 * (columns - 1) / 2, -1.27 * (rows - 1)
    pads = []
    for i, net in enumerate(nets):
        x, y = left + 2.54 * (i // rows), low + 2.54 * (i % rows)
        pads.append(Pad(x, y, 1.7, 1.7, net, 1.0, "obround" if i else "rect"))
    outline = box(2.54 * columns, 2.54 * rows)
    pin1: list[Point] = [(left + 1.27, -1.27 * rows), (left + 1.27, 1.27 * rows)]
    return _place(ref, at, rotation, pads, [outline, pin1])


def terminal(ref: str, at: Point, rotation: int, nets: Sequence[str]) -> Part:
    """Screw terminal, 5.08 mm pitch, 1.3 mm holes."""
    left = -5.08 * (len(nets) - 1) / 2
    pads = [Pad(left + 5.08 * i, 0, 2.5, 2.5, n, 1.3, "obround" if i else "rect") for i, n in enumerate(nets)]
    w = 5.08 * len(nets)
    lines = [box(w, 7.6), [(-w / 2, -2.4), (w / 2, -2.4)]]
    return _place(ref, at, rotation, pads, lines)


def micro_usb(ref: str, at: Point, rotation: int, nets: Sequence[str]) -> Part:
    """Micro-USB B receptacle: five 0.65 mm pads towards +x, the mouth towards -x, shell on GND."""
    pads = [Pad(1.45, 1.3 - 0.65 * i, 1.35, 0.4, net) for i, net in enumerate(nets)]
    pads += [Pad(-1.3, y, 1.8, 1.9, "GND") for y in (-1.2, 1.2)]
    pads += [Pad(1.35, y, 1.9, 1.4, "GND", 0.75, "obround") for y in (-2.95, 2.95)]
    pads += [Pad(-1.3, y, 1.9, 1.4, "GND", 0.75, "obround") for y in (-3.6, 3.6)]
    lines = [
        [(-2.4, -4.6), (2.7, -4.6)],
        [(-2.4, 4.6), (2.7, 4.6)],
        [(2.7, -4.6), (2.7, -3.9)],
        [(2.7, 4.6), (2.7, 3.9)],
    ]
    return _place(ref, at, rotation, pads, lines)


def crystal(ref: str, at: Point, rotation: int, nets: Sequence[str]) -> Part:
    """SMD crystal 5.0 x 3.2 mm, two pads."""
    pads = [Pad(-1.85, 0, 1.7, 2.4, nets[0]), Pad(1.85, 0, 1.7, 2.4, nets[1])]
    return _place(ref, at, rotation, pads, [box(6.0, 3.6)])


def radial(ref: str, at: Point, rotation: int, nets: Sequence[str], diameter: float = 6.3) -> Part:
    """Radial electrolytic capacitor, 2.5 mm lead pitch, plus on pad 1."""
    pads = [Pad(-1.25, 0, 1.6, 1.6, nets[0], 0.8), Pad(1.25, 0, 1.6, 1.6, nets[1], 0.8, "obround")]
    r = diameter / 2
    ring = _circle(r)
    plus: list[list[Point]] = [[(-r + 0.4, 1.5), (-r + 1.2, 1.5)], [(-r + 0.8, 1.1), (-r + 0.8, 1.9)]]
    return _place(ref, at, rotation, pads, [ring, *plus])


def relay(ref: str, at: Point, rotation: int, nets: Sequence[str]) -> Part:
    """Small power relay: coil pins left, common in the middle, normally open and normally closed right."""
    places = [(-6.2, 3.8), (-6.2, -3.8), (2.2, 0.0), (6.2, 3.8), (6.2, -3.8)]
    pads = [
        Pad(x, y, 2.2, 2.2, net, 1.2, "obround" if i else "rect")
        for i, ((x, y), net) in enumerate(zip(places, nets, strict=True))
    ]
    return _place(ref, at, rotation, pads, [box(16.0, 11.0)], centred=True)


def dip(ref: str, at: Point, rotation: int, nets: Sequence[str], row: float = 7.62) -> Part:
    """Dual in-line package, 2.54 mm pitch; pin 1 lower left, counted anticlockwise."""
    half = len(nets) // 2
    left = -2.54 * (half - 1) / 2
    at_x = [left + 2.54 * i for i in range(half)]
    pads = [Pad(x, -row / 2, 1.5, 2.0, n, 0.8, "obround") for x, n in zip(at_x, nets[:half], strict=True)]
    pads += [Pad(x, row / 2, 1.5, 2.0, n, 0.8, "obround") for x, n in zip(reversed(at_x), nets[half:], strict=True)]
    pads[0] = replace(pads[0], shape="rect")
    edge, side = -left + 1.27, row / 2 - 1.4
    lines = [
        [
            (-edge, 0.6),
            (-edge, side),
            (edge, side),
            (edge, -side),
            (-edge, -side),
            (-edge, -0.6),
            (-edge + 0.6, 0),
            (-edge, 0.6),
        ]
    ]
    return _place(ref, at, rotation, pads, lines, centred=True)


def mounting_hole(at: Point, diameter: float = 2.7) -> Part:
    """Unplated mounting hole with a silkscreen ring showing the screw head."""
    return _place("", at, 0, [], [_circle(diameter)], [Hole(0, 0, diameter)])


def _circle(radius: float) -> list[Point]:
    """Return a closed circle around the origin as 48 chords."""
    ring = shapely.Point(0, 0).buffer(radius, 12).exterior
    return [(round(float(x), 4), round(float(y), 4)) for x, y in ring.coords]
