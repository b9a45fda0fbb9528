"""data/boards: the same bytes again, a truth that holds exactly the pixels that changed, and moves with the camera."""

import io
import json
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from data.boards.generator.__main__ import build
from data.boards.generator.camera import take

ROOT = Path(__file__).resolve().parent.parent
BOARDS = ROOT / "data" / "boards"
TYPES = {"missing_hole", "mouse_bite", "open_circuit", "short", "spur", "spurious_copper"}
TRUTH = json.loads((BOARDS / "truth.json").read_text(encoding="utf-8"))
DRAWN, CAMERA = ([row for row in TRUTH if ("dust" in row) == by_camera] for by_camera in (False, True))
WRITTEN = ("README.md", "prompts.json", "small/", "variations.json")  # by hand
# Two defects on the design that is drawn soonest. The whole set takes most of a minute: BUILD_ALL_BOARDS=1 builds it.
SAMPLE = "board_16"


@lru_cache(4)
def pixels(file):
    """A picture as (H, W, 3)."""
    return np.asarray(Image.open(BOARDS / file))


def changed(row):
    """Return which pixels (H, W) of a picture differ from the good board of its design."""
    return np.any(pixels(row["file"]) != pixels(f"eval/{row['design']}.png"), axis=-1)


def faults(difference, defects, blur=0):
    """Return what is wrong with the boxes of one picture that is blurred over so many pixels."""
    rest, found = difference.copy(), []
    for defect in defects:
        x0, y0, x1, y1 = defect["box"]
        inside = difference[y0:y1, x0:x1]
        rest[y0 - blur : y1 + blur, x0 - blur : x1 + blur] = False
        if not inside.any():
            found.append(f"{defect}: nothing changed in the box")
        elif not blur and not all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1])):
            found.append(f"{defect}: the box is wider than the change")
    if rest.any():
        found.append(f"{int(rest.sum())} changed pixels outside the boxes")
    return found


def test_building_again_gives_the_same_bytes(tmp_path):
    everything = os.environ.get("BUILD_ALL_BOARDS") == "1"
    build(tmp_path, frozenset() if everything else frozenset({SAMPLE}))
    made = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    committed = {path.relative_to(BOARDS).as_posix() for path in BOARDS.rglob("*") if path.is_file()}
    generated = {name for name in committed if not name.startswith(("fonts/", "generator/", *WRITTEN))}
    assert set(made) == {name for name in generated if everything or Path(name).stem == SAMPLE}
    assert not [name for name, path in made.items() if path.read_bytes() != (BOARDS / name).read_bytes()]


def test_boxes_hold_exactly_what_changed_and_control_a_shifted_or_forgotten_box_is_caught():
    for row in DRAWN:
        difference, defects = changed(row), row["defects"]
        assert faults(difference, defects) == []
        for i, defect in enumerate(defects):
            moved = {**defect, "box": [v + d for v, d in zip(defect["box"], (3, 0, 3, 0), strict=True)]}
            assert faults(difference, [*defects[:i], moved, *defects[i + 1 :]]), "a box moved by 3 px went unnoticed"
            assert faults(difference, [*defects[:i], *defects[i + 1 :]])


def test_boxes_move_with_the_board_before_the_camera():
    number = [Path(row["file"]).stem for row in DRAWN].index(SAMPLE)
    drawn, seen = DRAWN[number], CAMERA[number - 2]
    boxes = [defect["box"] for defect in drawn["defects"]]
    good = take(Image.open(BOARDS / f"eval/{drawn['design']}.png"), boxes, (2024, number))
    first, second = (np.asarray(Image.open(file), np.int16) for file in (BOARDS / seen["file"], io.BytesIO(good.jpeg)))
    difference = np.abs(first - second).max(-1) > 24
    assert faults(difference, seen["defects"], blur=4) == []
    for defect in seen["defects"]:
        moved = [v + 10 for v in defect["box"]]
        assert faults(difference, [{**defect, "box": moved}], blur=4), "a box moved by 10 px went unnoticed"


def test_the_evaluation_set_holds_each_type_on_each_design_and_gives_nothing_away():
    assert {(defect["type"], row["design"]) for row in DRAWN[2:] for defect in row["defects"]} == {
        (kind, f"design_{name}") for kind in TYPES for name in "abc"
    }
    for drawn, seen in zip(DRAWN[2:], CAMERA, strict=True):
        assert seen["file"] == drawn["file"].replace("eval/", "camera/").replace("png", "jpeg")
        assert [defect["type"] for defect in seen["defects"]] == [defect["type"] for defect in drawn["defects"]]
    for row in TRUTH:
        with Image.open(BOARDS / row["file"]) as picture:
            assert picture.size == (row["width"], row["height"]) and not picture.getexif()
            assert picture.format == "JPEG" or picture.info == {}, "a text beside the pixels"
