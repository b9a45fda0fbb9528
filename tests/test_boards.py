"""data/boards: the same bytes again, a truth that holds exactly the pixels that changed, and moves with the camera."""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.boards.generator.camera import take

ROOT = Path(__file__).resolve().parent.parent
BOARDS = ROOT / "data" / "boards"
TYPES = {"missing_hole", "mouse_bite", "open_circuit", "short", "spur", "spurious_copper"}
TRUTH = json.loads((BOARDS / "truth.json").read_text(encoding="utf-8"))
DRAWN, CAMERA = ([row for row in TRUTH if ("dust" in row) == by_camera] for by_camera in (False, True))
EVALUATION = [row for row in DRAWN if row["file"].startswith("eval/board_")]
WRITTEN = ("README.md", "prompts.json", "small/", "variations.json")  # by hand
SAMPLE = ("chart", "spur")  # the whole set takes most of a minute: it is built when BUILD_ALL_BOARDS=1


def changed(row):
    """Return which pixels (H, W) of a picture differ from the good board of its design."""
    picture, good = (np.asarray(Image.open(BOARDS / f)) for f in (row["file"], f"eval/{row['design']}.png"))
    return np.any(picture != good, axis=-1)


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
    command = [sys.executable, "-m", "data.boards.generator", "--out", str(tmp_path)]
    subprocess.run(command if everything else [*command, "--only", *SAMPLE], check=True, timeout=600, cwd=ROOT)
    made = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    committed = {path.relative_to(BOARDS).as_posix() for path in BOARDS.rglob("*") if path.is_file()}
    generated = {name for name in committed if not name.startswith(("fonts/", "generator/", *WRITTEN))}
    assert set(made) == {name for name in generated if everything or Path(name).stem in SAMPLE}
    different = [name for name, path in made.items() if path.read_bytes() != (BOARDS / name).read_bytes()]
    assert not different


@pytest.mark.parametrize("row", DRAWN, ids=lambda row: Path(row["file"]).stem)
def test_boxes_hold_exactly_what_changed_and_control_a_shifted_or_forgotten_box_is_caught(row):
    difference, defects = changed(row), row["defects"]
    assert faults(difference, defects) == []
    for i, defect in enumerate(defects):
        moved = {**defect, "box": [v + d for v, d in zip(defect["box"], (3, 0, 3, 0), strict=True)]}
        assert faults(difference, [*defects[:i], moved, *defects[i + 1 :]]), "a box moved by 3 px went unnoticed"
        assert faults(difference, [*defects[:i], *defects[i + 1 :]])


def test_boxes_move_with_the_board_before_the_camera(number=17):
    drawn, seen = DRAWN[number], CAMERA[number - 2]
    boxes = [defect["box"] for defect in drawn["defects"]]
    board, good = (Image.open(BOARDS / file) for file in (drawn["file"], f"eval/{drawn['design']}.png"))
    shots = [take(picture, boxes, (2024, number)) for picture in (board, good)]
    assert shots[0].jpeg == (BOARDS / seen["file"]).read_bytes()
    first, second = (np.asarray(Image.open(io.BytesIO(shot.jpeg)), np.int16) for shot in shots)
    difference = np.abs(first - second).max(-1) > 24
    assert faults(difference, seen["defects"], blur=4) == []
    for defect in seen["defects"]:
        moved = [v + 10 for v in defect["box"]]
        assert faults(difference, [{**defect, "box": moved}], blur=4), "a box moved by 10 px went unnoticed"
    assert take(board, boxes, (2025, number)).jpeg != shots[0].jpeg


def test_the_camera_sees_every_board_and_dust_that_hides_no_defect():
    taken = [row["file"].replace("camera/", "eval/").replace("jpeg", "png") for row in CAMERA]
    assert taken == [row["file"] for row in DRAWN[2:]]
    for drawn, seen in zip(DRAWN[2:], CAMERA, strict=True):
        assert [defect["type"] for defect in seen["defects"]] == [defect["type"] for defect in drawn["defects"]]
        assert (BOARDS / seen["file"]).stat().st_size <= 150_000 and len(seen["dust"]) >= 3
        hidden = np.zeros((seen["height"], seen["width"]), bool)
        for x0, y0, x1, y1 in seen["dust"]:
            assert 0 <= x0 < x1 <= seen["width"] and 0 <= y0 < y1 <= seen["height"]
            hidden[y0:y1, x0:x1] = True
        assert all(faults(hidden, [defect])[0].endswith("nothing changed in the box") for defect in seen["defects"])


def test_the_evaluation_set_is_large_and_mixed_enough():
    assert len(EVALUATION) >= 24
    assert {row["design"] for row in EVALUATION} == {"design_a", "design_b", "design_c"}
    sizes = Counter(len(row["defects"]) for row in EVALUATION)
    assert sizes[0] >= 6 and sizes[2] >= 2
    planted = Counter((defect["type"], row["design"]) for row in EVALUATION for defect in row["defects"])
    assert len(planted) == 3 * len(TYPES)  # each type on each design
    # File names give nothing away, and neither does their order: no type, and no good board, is in one half alone.
    names = sorted(path.stem for path in (BOARDS / "eval").glob("*.png"))
    assert names == [*(f"board_{n:02d}" for n in range(1, len(EVALUATION) + 1)), "design_a", "design_b", "design_c"]
    half = len(EVALUATION) // 2
    for rows in (EVALUATION[:half], EVALUATION[half:]):
        assert any(not row["defects"] for row in rows)
        assert {defect["type"] for row in rows for defect in row["defects"]} == TYPES


def test_defects_and_pictures_are_small_and_a_picture_gives_nothing_away():
    for path in (*BOARDS.glob("*.png"), *(BOARDS / "eval").glob("*.png")):
        with Image.open(path) as picture:
            assert path.stat().st_size < 1_000_000 and picture.mode == "RGB" and 1200 <= picture.width <= 1600
            assert picture.info == {}, f"{path.name} carries metadata"
    for row in TRUTH:
        with Image.open(BOARDS / row["file"]) as picture:
            assert picture.size == (row["width"], row["height"])
    for defect in [defect for row in DRAWN for defect in row["defects"]]:
        x0, y0, x1, y1 = defect["box"]
        assert 8 <= max(x1 - x0, y1 - y0) <= (60 if defect["type"] == "missing_hole" else 40), defect
    kinds = {row["file"]: [defect["type"] for defect in row["defects"]] for row in TRUTH}
    assert (kinds["good.png"], kinds["spur.png"]) == ([], ["spur"])
    for design in ("design_a", "design_b", "design_c"):
        files = {path.name.split("-")[1] for path in (BOARDS / "gerber" / design).iterdir()}
        assert {"F.Cu.gbr", "B.Cu.gbr", "F.Mask.gbr", "F.SilkS.gbr", "Edge.Cuts.gbr", "PTH.drl"} <= files
