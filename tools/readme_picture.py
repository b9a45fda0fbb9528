"""The picture of README.md, taken from the stored output of the board lesson.

python -m tools.readme_picture
"""

import io
import sys
from pathlib import Path

import nbformat
from PIL import Image

from helpers.settings import ROOT
from tools.notebooks import FOLDER, pictures

LESSON, CELL = FOLDER / "01_pcb_defect_inspection.ipynb", "Board B: the model (blue)"
PICTURE = ROOT / "docs" / "board_verdict.png"
COLOURS = 256  # a quarter of the size; the method below keeps rare colours, as those of the two small boxes


def from_notebook(path: Path = LESSON, words: str = CELL) -> Image.Image:
    """The first PNG that the cell with `words` in its source put out, in full colour; ValueError without one."""
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code" and words in cell.source]
    found = [png for cell in cells for png, _ in pictures(cell)]
    if not found:
        raise ValueError(
            f"{path.name} has no cell with {words!r} and a picture: run `make outputs`, or name another cell"
        )
    with Image.open(io.BytesIO(found[0])) as picture:
        return picture.convert("RGB")


def smaller(picture: Image.Image) -> Image.Image:
    """The picture with a palette."""
    return picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def main() -> int:
    """Write the picture."""
    PICTURE.parent.mkdir(exist_ok=True)
    smaller(from_notebook()).save(PICTURE, optimize=True)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
