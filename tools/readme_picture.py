"""The picture of README.md, taken from the stored output of the board lesson: python -m tools.readme_picture"""

import io

import nbformat
from PIL import Image

from helpers.settings import ROOT
from tools.notebooks import FOLDER, pictures

LESSON, CELL = FOLDER / "01_pcb_defect_inspection.ipynb", "Board B: the model (blue)"
PICTURE = ROOT / "docs" / "board_verdict.png"


def from_notebook() -> Image.Image:
    """The first picture that the cell with the words of CELL put out, in full colour."""
    cell = next(cell for cell in nbformat.read(LESSON, 4).cells if CELL in cell.source)
    return Image.open(io.BytesIO(pictures(cell)[0][0])).convert("RGB")


if __name__ == "__main__":
    # A palette makes it a quarter of the size; this method keeps rare colours, as those of the two small boxes.
    small = from_notebook().quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(PICTURE, optimize=True)
