"""Lesson 01 in its own cells: the template comparison on pairs drawn here, pictures that may be sent, the scores."""

import io
import json

import cv2
import nbformat
import numpy as np
import pytest
from PIL import Image

from helpers import workshop
from helpers.settings import ROOT, settings

BOARDS = ROOT / "data" / "boards"
LESSON = nbformat.read(ROOT / "notebooks" / "01_pcb_defect_inspection.ipynb", 4)
CELLS = [cell for cell in LESSON.cells if cell.cell_type == "code"]
TRUTH = {row["file"]: row for row in json.loads((BOARDS / "truth.json").read_text(encoding="utf-8"))}
SIDE = 640
KINDS = ("open_circuit", "short", "mouse_bite", "spur", "spurious_copper", "pin_hole")
CROOKED = np.float32([[1.01, 0.004, 7], [-0.004, 0.99, -7]])


def run(words, **names):
    """The names after the cells with `words` in code or tags have run, with nothing but `names` before."""
    for cell in CELLS:
        if words in cell.source or words in cell.metadata.get("tags", []):
            exec(cell.source, names)
    return names


def rough(copper, rng, moved=None):
    """A scan of drawn copper: blurred, moved, and cut at a level that wanders along the edges."""
    soft = cv2.GaussianBlur(copper.astype(np.float32), (0, 0), 1.6)
    if moved is not None:
        soft = cv2.warpAffine(soft, moved, (SIDE, SIDE), None, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    noise = cv2.GaussianBlur(rng.normal(0, 1, copper.shape).astype(np.float32), (0, 0), 2)
    return np.where(soft > 127 + 25 * noise / noise.std(), 255, 0).astype(np.uint8)


def plant(board, kind, x, y, width, pitch, size):
    """Draw a defect on the track at height y, or between it and the next one."""
    edge, half = y + width // 2, size // 2
    match kind:
        case "open_circuit":
            cv2.rectangle(board, (x - half, y - width), (x + half, y + width), 0, -1)
        case "short":
            cv2.rectangle(board, (x - half, y), (x + half, y + pitch), 255, -1)
        case "mouse_bite":
            cv2.ellipse(board, (x, edge), (size, width // 2), 0, 0, 360, 0, -1)
        case "spur":
            cv2.rectangle(board, (x - half, edge), (x + half, edge + size), 255, -1)
        case "spurious_copper":
            cv2.ellipse(board, (x, y + pitch // 2), (size, half), 0, 0, 360, 255, -1)
        case "pin_hole":
            cv2.ellipse(board, (x, y), (half, half), 0, 0, 360, 0, -1)


def draw_pair(seed, moved):
    """White copper with rough edges, as in DeepPCB: a template, a board moved, and boxes as a person draws them."""
    rng = np.random.default_rng(seed)
    good, truth = np.zeros((SIDE, SIDE), np.uint8), []
    pitch = int(rng.integers(56, 70))
    rows = [(y, int(rng.integers(20, 27))) for y in range(60, SIDE - pitch, pitch)]
    for y, width in rows:
        for part in ((20, 300), (340, 620)) if rng.random() < 0.4 else ((20, 620),):
            cv2.line(good, (part[0], y), (part[1], y), 255, width)
            for x in part:  # a pad with a hole at each end
                cv2.circle(good, (x, y), width, 255, -1)
                cv2.circle(good, (x, y), width // 3, 0, -1)
    cv2.line(good, (60, 20), (580, 20), 255, 14)
    board = good.copy()
    places = [(row, x) for row in rows for x in range(90, 560, 75) if abs(x - 320) > 60]
    for place in rng.permutation(len(places))[: rng.integers(4, 10)]:
        ((y, width), x), kind = places[place], str(rng.choice(KINDS))
        before = board.copy()
        plant(board, kind, x, y, width, pitch, int(rng.integers(7, 14)))
        change = cv2.warpAffine(cv2.absdiff(board, before), moved, (SIDE, SIDE))
        left, top, w, h = cv2.boundingRect((change > 127).astype(np.uint8))
        a, b, c, d = rng.integers(4, 10, 4).tolist()
        truth.append((kind, (left - a, top - b, left + w + c, top + h + d)))
    return rough(good, rng), rough(board, rng, moved), truth


def score(compare, pairs):
    """F over all boxes at an IoU of .33 or more, and the share of right types among those that were found."""
    iou, boxes, types = run("def judge(", MODEL=None, settings=settings)["iou"], 0, []
    for template, board, truth in pairs:
        found = compare(template, board, 128, 7)
        boxes += len(found) + len(truth)
        best = [(max(((iou(box, where), said) for said, box in found), default=(0, "")), kind) for kind, where in truth]
        types += [said == kind for (fit, said), kind in best if fit >= 0.33]
    return 2 * len(types) / boxes, sum(types) / max(1, len(types))


@pytest.fixture(scope="module")
def drawn():
    return [draw_pair(seed, CROOKED) for seed in range(12)]


def test_stretched_slanted_and_shifted_pairs(drawn, report):
    f, types = score(run("template-comparison")["compare"], drawn)
    planted = sum(len(truth) for *_, truth in drawn)
    report(f"Template comparison, {len(drawn)} drawn pairs, {planted} defects: F {f:.3f} at IoU .33, types {types:.3f}")
    assert f >= 0.95 and types >= 0.93


def test_control_without_alignment_they_fail(drawn):
    names = run("template-comparison")
    names["align"] = lambda template, board: template
    assert score(names["compare"], drawn[:3])[0] < 0.5


def test_odd_pictures_raise_nothing_and_are_not_taken_for_good(drawn):
    compare, rng = run("template-comparison")["compare"], np.random.default_rng(1)
    template, board, _ = draw_pair(3, np.eye(2, 3, dtype=np.float32))
    blank, noise = np.zeros_like(board), rng.integers(0, 256, board.shape, dtype=np.uint8)
    assert compare(board, board, 128, 7) == compare(blank, blank, 128, 7) == []
    for odd in (blank, blank + 255, noise, drawn[9][0][::-1].copy()):
        assert compare(template, odd, 128, 7)
    for _ in range(30):
        a, b = (rng.integers(0, 256, rng.integers(1, 40, 2), dtype=np.uint8) for _ in range(2))
        for kind, (x0, y0, x1, y1) in compare(a, b, int(rng.integers(256)), int(rng.integers(9))):
            assert kind and 0 <= x0 < x1 <= b.shape[1] and 0 <= y0 < y1 <= b.shape[0]


@pytest.fixture(scope="module")
def load():
    return run("def load(", workshop=workshop, ROOT=ROOT)["load"]


def saved(folder, kind, picture):
    path = folder / "board.png"
    picture.save(path, kind)
    return path


def test_a_fitting_picture_is_sent_as_it_is_whatever_its_name(load, tmp_path):
    for kind in ("png", "jpeg", "gif", "webp"):
        path = saved(tmp_path, kind, Image.new("RGB", (40, 30), "green"))
        assert load(path) == {"image": {"format": kind, "source": {"bytes": path.read_bytes()}}}


def test_what_is_too_large_is_scaled_down(load, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    sent = load(saved(tmp_path, "png", Image.fromarray(noise)), most_bytes=20_000)["image"]["source"]["bytes"]
    assert len(sent) <= 20_000 and Image.open(io.BytesIO(sent)).width < 800
    sent = load(saved(tmp_path, "png", Image.new("P", (9000, 90), 128)))["image"]
    assert sent["format"] == "jpeg" and Image.open(io.BytesIO(sent["source"]["bytes"])).size == (8000, 80)


def test_no_other_file_gets_through_and_each_ends_in_one_error(load, tmp_path, recwarn):
    kinds, whole = ("tiff", "bmp", "avif"), (BOARDS / "good.png").read_bytes()
    files = {f"{kind}.png": saved(tmp_path, kind, Image.new("RGB", (9, 9))).read_bytes() for kind in kinds}
    files |= {"empty.png": b"", "words.jpg": b"no picture", "cut.png": whole[: len(whole) // 2]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in (*files, "nowhere.png", "."):
        with pytest.raises(workshop.WorkshopError, match="Save it as a whole PNG, JPEG, GIF or WebP") as caught:
            load(tmp_path / name)
        assert name in str(caught.value)
    assert not recwarn.list
    with pytest.raises(workshop.WorkshopError, match=r"\(ValueError\).* of at most 1,000 8-bit pixels"):
        load(BOARDS / "good.png", most_pixels=1000)


def test_each_kind_of_mistake_is_seen_by_the_judge():
    planted = {"type": "spur", "box": (10, 10, 20, 20)}
    truth = {"a": {"defects": [planted]}, "b": {"defects": [planted]}, "c": {"defects": []}}
    judge = run("def judge(", MODEL=None, settings=settings, TRUTH=truth)["judge"]
    right, wrong = ("spur", (10, 10, 20, 20)), ("short", (10, 15, 20, 25))
    assert list(judge({"a": [right], "c": []})) == [("spur", "spur", 1), ("nothing", "nothing", 0)]
    found = [("spur", "short", pytest.approx(1 / 3)), ("spur", "nothing", 0), ("nothing", "short", 0)]
    assert list(judge({"a": [wrong], "b": [], "c": [wrong]})) == found
    assert list(judge({"a": [("spur", (30, 30, 40, 40))]})) == [("spur", "nothing", 0)], "a type in the wrong place"
