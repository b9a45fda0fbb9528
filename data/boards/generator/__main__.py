"""Build data/boards: three boards, the defect chart, the evaluation set, drawn and by the camera, and its ground truth.

Run `make boards` (`python -m data.boards.generator`). The same bytes come out every time.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from .artwork import Artwork
from .camera import take
from .chart import draw_chart
from .defects import KINDS, Planted, plant
from .designs import DESIGNS
from .render import MARGIN, PX_PER_MM, fabrication_data, render

SEED = 2024
REACH = 1.6  # a defect changes no pixel further than this from its middle, mm
BOARDS = Path(__file__).resolve().parent.parent
FONT = BOARDS / "fonts" / "NotoSansCJKsc-Regular-subset.otf"
CHART_SEEDS = {"missing_hole": 7, "mouse_bite": 3, "open_circuit": 5, "short": 3, "spur": 3, "spurious_copper": 7}
SPUR_SEED = 22
PAIRS = (
    ("design_a", ("open_circuit", "spurious_copper")),
    ("design_b", ("missing_hole", "mouse_bite")),
    ("design_c", ("short", "spur")),
    ("design_a", ("missing_hole", "short")),
)
GOOD_EACH = 2

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """One picture with its truth: pixel boxes [x0, y0, x1, y1), the far edges not included."""

    design: str
    picture: Image.Image
    defects: list[dict[str, Any]]


@cache
def _good(design: str) -> Image.Image:
    return render(DESIGNS[design]())


def make_sample(design: str, kinds: tuple[str, ...], seed: int) -> Sample:
    """Plant `kinds` one after another in a design, draw it, and read the truth off the changed pixels."""
    good = DESIGNS[design]()
    board: Artwork = good
    planted: tuple[Planted, ...] = ()
    for i, kind in enumerate(kinds):
        board, defect = plant(board, kind, 1000 * seed + i, planted)
        planted += (defect,)
    picture = render(board) if planted else _good(design)
    changed = np.any(np.asarray(picture) != np.asarray(_good(design)), axis=-1)
    boxes = [_box(changed, good, defect) for defect in planted]
    for x0, y0, x1, y1 in boxes:
        changed[y0:y1, x0:x1] = False
    if changed.any():
        raise RuntimeError(f"{design} {kinds}: pixels changed outside the boxes")
    return Sample(design, picture, [{"type": d.kind, "box": box} for d, box in zip(planted, boxes, strict=True)])


def _box(changed: NDArray[np.bool_], board: Artwork, defect: Planted) -> list[int]:
    """Return the box around the pixels that one defect changed."""
    near = np.zeros_like(changed)
    x, y = (defect.at[0] + MARGIN) * PX_PER_MM, (board.height + MARGIN - defect.at[1]) * PX_PER_MM
    r = REACH * PX_PER_MM
    window = (slice(max(0, int(y - r)), int(y + r)), slice(max(0, int(x - r)), int(x + r)))
    near[window] = changed[window]
    if not near.any():
        raise RuntimeError(f"{board.name}: {defect.kind} changed nothing that can be seen")
    rows, columns = ndimage.find_objects(near.astype(np.int8))[0]
    return [columns.start, rows.start, columns.stop, rows.stop]


def build(out: Path, only: frozenset[str] = frozenset()) -> None:
    """Write the data set below `out`; with `only`, just the pictures of these names.

    Everything is made in a temporary folder first, so that a failure leaves `out` as it was.
    """
    with tempfile.TemporaryDirectory() as folder:
        _build(Path(folder), only)
        shutil.copytree(folder, out, dirs_exist_ok=True)


def _build(out: Path, only: frozenset[str]) -> None:
    plan: dict[str, tuple[str, tuple[str, ...], int]] = {
        "good.png": ("design_a", (), 0),
        "spur.png": ("design_a", ("spur",), SPUR_SEED),
        **{f"eval/{design}.png": (design, (), 0) for design in DESIGNS},
    }
    boards: list[tuple[str, tuple[str, ...]]] = [(design, (kind,)) for design in DESIGNS for kind in KINDS]
    boards += [*PAIRS, *((design, ()) for design in DESIGNS for _ in range(GOOD_EACH))]
    # The order is shuffled, so that a number says nothing about design or defect.
    for number, index in enumerate(np.random.default_rng(SEED).permutation(len(boards)), 1):
        plan[f"eval/board_{number:02d}.png"] = (*boards[index], SEED + int(index))

    for folder in ("eval", "camera"):
        (out / folder).mkdir()
    truth: list[dict[str, object]] = []
    by_camera: list[dict[str, object]] = []
    for number, (file, (design, kinds, seed)) in enumerate(plan.items()):
        if only and Path(file).stem not in only:
            continue
        sample = make_sample(design, kinds, seed)
        sample.picture.save(out / file, compress_level=9)
        row = {"design": design, "width": sample.picture.width, "height": sample.picture.height}
        truth.append({"file": file, **row, "defects": sample.defects})
        if file.startswith("eval/"):
            shot = take(sample.picture, [each["box"] for each in sample.defects], (SEED, number))
            seen = file.replace("eval/", "camera/").replace(".png", ".jpeg")
            (out / seen).write_bytes(shot.jpeg)
            moved = [{**each, "box": box} for each, box in zip(sample.defects, shot.boxes, strict=True)]
            by_camera.append({"file": seen, **row, "defects": moved, "dust": shot.dust})
    if not only or "chart" in only:
        draw_chart(DESIGNS["design_a"](), CHART_SEEDS, FONT).save(out / "chart.png", compress_level=9)
    if not only:
        for design, make in DESIGNS.items():
            board = make()
            fabrication_data(board).save_to_directory(out / "gerber" / design, board_name=board.name)
        (out / "truth.json").write_text(_json(truth + by_camera), encoding="utf-8", newline="\n")


def _json(truth: list[dict[str, object]]) -> str:
    """Return the truth with one picture a line."""
    return "[\n" + ",\n".join("  " + json.dumps(row) for row in truth) + "\n]\n"


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=BOARDS)
    parser.add_argument("--only", nargs="*", default=(), metavar="NAME", help="for example: chart spur board_07")
    arguments = parser.parse_args()
    build(arguments.out, frozenset(arguments.only))


if __name__ == "__main__":
    main()
