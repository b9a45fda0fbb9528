"""A small two-layer maze router: A* on a grid, 45-degree corners, vias, rip-up by reordering."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .artwork import CLEARANCE, TRACK, VIA_DIAMETER, VIA_DRILL, Artwork, Pad, Point, Track

PITCH = 0.25  # grid, mm
EDGE = 0.6  # copper to board edge, mm
MOVES = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
TURN = (0.0, 0.6, 6.0)  # cost of a turn by 0, 45 and 90 degrees; sharper turns are not made
VIA_COST, BOTTOM_COST = 14.0, 1.15
BLOCKED = -1

Node = tuple[int, int, int]  # layer, column, row


class Unroutable(RuntimeError):
    """A connection for which no path was found."""


@dataclass
class _Grid:
    """Who owns each grid point: 0 nobody, n net n, -1 blocked for all; for track centres and via centres."""

    track: NDArray[np.int16]
    via: NDArray[np.int16]

    def claim(
        self, layers: Iterable[int], a: Point, b: Point, half: Point, radius: float, net: int, width: float
    ) -> None:
        """Keep other nets away from a segment a-b swept by a disc (radius) or a rectangle (half sizes)."""
        for grid, reach in (
            (self.track, radius + CLEARANCE + width / 2),
            (self.via, radius + CLEARANCE + VIA_DIAMETER / 2),
        ):
            low = [max(0, int((min(a[i], b[i]) - half[i] - reach) / PITCH)) for i in (0, 1)]
            high = [int((max(a[i], b[i]) + half[i] + reach) / PITCH) + 2 for i in (0, 1)]
            x = np.arange(low[0], min(high[0], grid.shape[1]))[:, None] * PITCH
            y = np.arange(low[1], min(high[1], grid.shape[2]))[None, :] * PITCH
            dx, dy = b[0] - a[0], b[1] - a[1]
            length2 = dx * dx + dy * dy
            t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / length2, 0, 1) if length2 else 0.0
            ex = np.maximum(np.abs(x - a[0] - t * dx) - half[0], 0)
            ey = np.maximum(np.abs(y - a[1] - t * dy) - half[1], 0)
            near = np.hypot(ex, ey) < reach - 1e-6
            for layer in layers:
                view = grid[layer, low[0] : low[0] + x.size, low[1] : low[1] + y.size]
                view[near & (view != 0) & (view != net)] = BLOCKED
                view[near & (view == 0)] = net


def route(
    board: Artwork, planes: frozenset[str] = frozenset({"GND"}), widths: dict[str, float] | None = None
) -> Artwork:
    """Return the board with every net connected; nets in `planes` get a via per pad into the bottom plane.

    Raises Unroutable when no order of nets succeeds.
    """
    widths = widths or {}
    names = sorted({pad.net for pad in board.pads if pad.net})
    spread = {name: _spread([p for p in board.pads if p.net == name]) for name in names}
    order = sorted(names, key=lambda name: (name in planes, spread[name], name))
    for _ in range(40):
        done = _try(board, order, planes, widths)
        if isinstance(done, Artwork):
            return done
        order.remove(done)
        order.insert(0, done)
    raise Unroutable(f"{board.name}: net {done} finds no way; move parts apart or make the board larger")


def _spread(pads: list[Pad]) -> float:
    return max(p.x for p in pads) - min(p.x for p in pads) + max(p.y for p in pads) - min(p.y for p in pads)


def _try(board: Artwork, order: list[str], planes: frozenset[str], widths: dict[str, float]) -> Artwork | str:
    """Route all nets in this order; return the board, or the name of the net that failed."""
    shape = (2, round(board.width / PITCH) + 1, round(board.height / PITCH) + 1)
    # Wide nets look at a grid of their own, with more room around everything.
    grids = {w: _Grid(np.zeros(shape, np.int16), np.zeros(shape, np.int16)) for w in {TRACK, *widths.values()}}
    number = {name: i + 1 for i, name in enumerate(sorted(order))}
    margin = int(EDGE / PITCH) + 1
    for width, grid in grids.items():
        for owners in (grid.track, grid.via):
            owners[:, :margin], owners[:, -margin:] = BLOCKED, BLOCKED
            owners[:, :, :margin], owners[:, :, -margin:] = BLOCKED, BLOCKED
        for pad in board.pads:
            layers = (0, 1) if pad.drill else (0,)
            grid.claim(
                layers, (pad.x, pad.y), (pad.x, pad.y), (pad.w / 2, pad.h / 2), 0, number.get(pad.net, BLOCKED), width
            )
        for hole in board.holes:
            grid.claim((0, 1), (hole.x, hole.y), (hole.x, hole.y), (0, 0), hole.diameter / 2 + 0.3, BLOCKED, width)
    tracks: list[Track] = []
    vias: list[Pad] = []
    # No via inside or touching a surface pad: solder would run away through it.
    no_via = np.zeros(shape[1:], bool)
    x, y = np.arange(shape[1])[:, None] * PITCH, np.arange(shape[2])[None, :] * PITCH
    for pad in board.pads:
        reach = VIA_DIAMETER / 2 + 0.2
        no_via |= (np.abs(x - pad.x) < pad.w / 2 + reach) & (np.abs(y - pad.y) < pad.h / 2 + reach)
    for name in order:
        net, width = number[name], widths.get(name, TRACK)
        grid = grids[width]
        pads = [pad for pad in board.pads if pad.net == name]
        free = (grid.track == 0) | (grid.track == net)
        via_ok = np.all((grid.via == 0) | (grid.via == net), axis=0) & ~no_via
        groups = [_nodes(pad, shape) for pad in pads]
        plane = name in planes
        # A pad of a plane net needs a via of its own; the pads of other nets join one growing tree.
        tree, remaining = set(groups[0]), list(range(1, len(pads)))
        starts = [g for g, pad in zip(groups, pads, strict=True) if not pad.drill] if plane else groups[1:]
        for start in starts:
            goals = None if plane else {node: i for i in remaining for node in groups[i]}
            path = _search(free, via_ok, start if plane else tree, goals, vias, name)
            if path is None:
                return name
            new_tracks, new_vias = _draw(path, name, width)
            if goals is None:
                drop = _via(path[-1], name)
                new_vias += [] if drop in vias else [drop]
            else:
                reached = goals[path[-1]]
                remaining.remove(reached)
                tree |= set(groups[reached]) | set(path)
            for via in new_vias:  # neighbouring drills would break out into each other
                no_via |= np.hypot(x - via.x, y - via.y) < VIA_DIAMETER + CLEARANCE
            tracks += new_tracks
            vias += new_vias
            for w, each in grids.items():
                for track in new_tracks:
                    each.claim((track.layer,), track.a, track.b, (0, 0), track.width / 2, net, w)
                for via in new_vias:
                    each.claim((0, 1), (via.x, via.y), (via.x, via.y), (0, 0), via.w / 2, net, w)
            free = (grid.track == 0) | (grid.track == net)
            via_ok = np.all((grid.via == 0) | (grid.via == net), axis=0) & ~no_via
    return board.edited(tracks=tuple(tracks), vias=tuple(vias))


def _nodes(pad: Pad, shape: tuple[int, ...]) -> list[Node]:
    """Return the grid points near the middle of a pad, where a track may end."""
    layers = (0, 1) if pad.drill else (0,)
    x, y = round(pad.x / PITCH), round(pad.y / PITCH)
    reach_x, reach_y = max(0.0, pad.w / 2 - 0.3), max(0.0, pad.h / 2 - 0.3)
    if pad.drill:
        reach_x = reach_y = 0.0
    near = [
        (i, j)
        for i in range(x - 4, x + 5)
        for j in range(y - 4, y + 5)
        if abs(i * PITCH - pad.x) <= reach_x and abs(j * PITCH - pad.y) <= reach_y
    ]
    return [(layer, i, j) for layer in layers for i, j in near or [(x, y)] if 0 <= i < shape[1] and 0 <= j < shape[2]]


def _search(
    free: NDArray[np.bool_],
    via_ok: NDArray[np.bool_],
    starts: Iterable[Node],
    goals: dict[Node, int] | None,
    vias: list[Pad],
    net: str,
) -> list[Node] | None:
    """Return the cheapest path from a start to a goal, or, without goals, to the nearest place for a via."""
    own = {(round(v.x / PITCH), round(v.y / PITCH)) for v in vias if v.net == net}
    if goals:
        gx0, gx1 = min(n[1] for n in goals), max(n[1] for n in goals)
        gy0, gy1 = min(n[2] for n in goals), max(n[2] for n in goals)
    best: dict[Node, float] = {}
    parent: dict[Node, tuple[Node | None, int]] = {}
    queue: list[tuple[float, float, Node, Node | None, int]] = [(0.0, 0.0, n, None, -1) for n in sorted(starts)]
    heapq.heapify(queue)
    _, columns, rows = free.shape
    while queue:
        _, cost, node, came, direction = heapq.heappop(queue)
        if node in best:
            continue
        best[node] = cost
        parent[node] = (came, direction)
        layer, x, y = node
        arrived = (
            node in goals
            if goals is not None
            else layer == 0 and came is not None and ((x, y) in own or bool(via_ok[x, y]))
        )
        if arrived:
            path = [node]
            while (previous := parent[path[-1]][0]) is not None:
                path.append(previous)
            return path[::-1]
        for turn, (dx, dy) in enumerate(MOVES):
            nx, ny = x + dx, y + dy
            if not (0 <= nx < columns and 0 <= ny < rows) or (layer, nx, ny) in best or not free[layer, nx, ny]:
                continue
            bend = 0 if direction < 0 else min((turn - direction) % 8, (direction - turn) % 8)
            if bend > 2:
                continue
            step = (1.4142 if dx and dy else 1.0) * (BOTTOM_COST if layer else 1.0) + TURN[bend]
            ahead = 0.0
            if goals:
                far = max(gx0 - nx, nx - gx1, 0), max(gy0 - ny, ny - gy1, 0)
                ahead = max(far) + 0.4142 * min(far)
            heapq.heappush(queue, (cost + step + ahead, cost + step, (layer, nx, ny), node, turn))
        other = (1 - layer, x, y)
        if goals is not None and via_ok[x, y] and other not in best and free[other]:
            heapq.heappush(queue, (cost + VIA_COST, cost + VIA_COST, other, node, -1))
    return None


def _via(node: Node, net: str) -> Pad:
    return Pad(node[1] * PITCH, node[2] * PITCH, VIA_DIAMETER, VIA_DIAMETER, net, VIA_DRILL, "obround")


def _draw(path: list[Node], net: str, width: float) -> tuple[list[Track], list[Pad]]:
    """Turn grid points into straight tracks and vias."""
    tracks: list[Track] = []
    vias: list[Pad] = []
    start = path[0]
    for i in range(1, len(path)):
        before, here = path[i - 1], path[i]
        if here[0] != before[0]:
            vias.append(_via(here, net))
            start = here
            continue
        after = path[i + 1] if i + 1 < len(path) else None
        straight = after is not None and all(after[k] - here[k] == here[k] - before[k] for k in range(3))
        if not straight:
            a, b = ((n[1] * PITCH, n[2] * PITCH) for n in (start, here))
            tracks.append(Track(a, b, net, here[0], width))
            start = here
    return tracks, vias
