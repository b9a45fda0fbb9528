"""Scores and figures of inspected boards, the same for every way of inspecting them."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from helpers.inspection import Box, LoadedImage, match

TYPES = ("missing_hole", "mouse_bite", "open_circuit", "short", "spur", "spurious_copper")
Found = Sequence[tuple[str, Box]]  # what was reported on one board: type and box in pixels
Truth = Mapping[str, Any]  # a row of truth.json


@dataclass(frozen=True)
class Score:
    """Boards judged rightly as good or not, of `boards`; defects whose type was named, and whose box was hit (IoU
    at least 0.33), of `defects`; and boxes that hit nothing."""

    boards: int
    verdicts: int
    defects: int
    typed: int
    hits: int
    false_boxes: int


def score(found: Mapping[str, Found], truth: Mapping[str, Truth]) -> Score:
    """Compare what was reported for each board, by name, with the truth."""
    verdicts = typed = hits = false_boxes = defects = 0
    for name, reports in found.items():
        planted = truth[name]["defects"]
        defects += len(planted)
        verdicts += bool(reports) == bool(planted)
        typed += sum(defect["type"] in {kind for kind, _ in reports} for defect in planted)
        hit, false, _ = match([box for _, box in reports], [Box(*defect["box"]) for defect in planted])
        hits, false_boxes = hits + hit, false_boxes + false
    return Score(len(found), verdicts, defects, typed, hits, false_boxes)


def confusion(found: Mapping[str, Found], truth: Mapping[str, Truth]) -> NDArray[np.int_]:
    """Counts (7, 7): rows are true types and, last, good boards; columns are reported types and, last, nothing.

    A defect counts as reported right if the board's reports name its type, else as the first report.
    """
    table = np.zeros((len(TYPES) + 1, len(TYPES) + 1), int)
    for name, reports in found.items():
        kinds = [kind for kind, _ in reports]
        planted = [defect["type"] for defect in truth[name]["defects"]]
        for kind in planted:
            said = kind if kind in kinds else next(iter(kinds), None)
            table[TYPES.index(kind), TYPES.index(said) if said else -1] += 1
        if not planted:
            table[-1, -1] += not kinds
            for said in kinds:
                table[-1, TYPES.index(said)] += 1
    return table


def show_confusion(table: NDArray[np.int_], title: str) -> None:
    """Draw the counts of `confusion`, and the recall of each type; the title should say whose answers they are."""
    import matplotlib.pyplot as plt

    figure, (axes, beside) = plt.subplots(1, 2, figsize=(11, 5), width_ratios=(3, 2), layout="constrained")
    axes.imshow(table, cmap="Blues")
    for (row, column), count in np.ndenumerate(table):
        if count:
            dark = count > table.max() / 2
            axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(table)), [*TYPES, "nothing"], rotation=40, ha="right")
    axes.set_yticks(range(len(table)), [*TYPES, "good board"])
    axes.set(title="confusion matrix", xlabel="reported (defects)", ylabel="truth (defects)")
    recall = table.diagonal()[:-1] / np.maximum(1, table[:-1].sum(axis=1))
    beside.bar_label(beside.barh(TYPES, recall, color="#0072B2"), fmt="%.2f", padding=3)
    beside.invert_yaxis()
    beside.set(title="recall by type", xlabel="share of defects whose type was named", xlim=(0, 1.15))
    figure.suptitle(title)
    plt.show()


def show_pictures(
    pictures: Sequence[LoadedImage],
    titles: Sequence[str],
    crop: Box | None = None,
    boxes: Sequence[tuple[str, Box, str]] = (),
) -> None:
    """Draw pictures in a row, each whole or cut to `crop` (px), with `boxes` of (text, box, colour) over each."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    width = 13 if len(pictures) > 1 else 9
    _, row = plt.subplots(
        1, len(pictures), figsize=(width, 3.6 if len(pictures) > 1 else 6.8), layout="constrained"
    )
    for axes, picture, title in zip(np.atleast_1d(row), pictures, titles, strict=True):
        image = Image.open(io.BytesIO(picture.bytes))
        axes.imshow(image.crop(crop) if crop else image)
        axes.set_title(title)
        axes.axis("off")
        for text, box, colour in boxes:
            size = (box.x1 - box.x0, box.y1 - box.y0)
            axes.add_patch(Rectangle((box.x0, box.y0), *size, fill=False, edgecolor=colour, linewidth=2))
            below = text.startswith("truth")
            place = {"va": "top", "y": box.y1 + 6} if below else {"va": "bottom", "y": box.y0 - 6}
            axes.text(x=box.x0, s=text, color=colour, weight="bold", backgroundcolor="#00000080", **place)
    plt.show()


def batch_problems(lines: Sequence[str], least: int = 100) -> list[str]:
    """What would stop a batch inference job with these JSONL lines (InvokeModel bodies); empty if nothing.

    `least` is the default quota "Minimum number of records per batch inference job" of Amazon Bedrock.
    """
    problems, seen = [], set()
    for number, line in enumerate(lines, 1):
        record = json.loads(line)
        body = record.get("modelInput", {})
        missing = {"anthropic_version", "max_tokens", "messages"} - body.keys()
        if missing:
            problems.append(f"line {number} has no {', '.join(sorted(missing))}")
        if not record.get("recordId") or record["recordId"] in seen:
            problems.append(f"line {number} needs a recordId of its own")
        seen.add(record.get("recordId"))
    if len(lines) < least:
        problems.append(f"{len(lines)} lines are too few: a job takes at least {least}")
    return problems
