"""The chart of the six defects: a close-up of each, with its name in English and Chinese."""

from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .artwork import Artwork
from .defects import KINDS, plant
from .render import render

NAMES = {
    "missing_hole": ("Missing hole", "缺孔"),
    "mouse_bite": ("Mouse bite", "鼠咬"),
    "open_circuit": ("Open circuit", "开路"),
    "short": ("Short", "短路"),
    "spur": ("Spur", "毛刺"),
    "spurious_copper": ("Spurious copper", "余铜"),
}
PANEL = (424, 326)  # px
CLOSE_UP = 96.0  # px per mm
CLOSE_UP_HOLE = 52.0  # px per mm: far enough to show drilled neighbours
GUTTER, CAPTION = 20, 64  # px
INK, PAPER, RING = (24, 24, 26), (255, 255, 255), (255, 214, 0)
RADIUS = 60  # of the ring, px
SMOOTH = 4  # the ring is drawn this much larger, then reduced


def draw_chart(board: Artwork, seeds: dict[str, int], font_file: Path) -> Image.Image:
    """Return the chart, three panels by two, of defects planted in `board` with the given seeds."""
    panels = [_panel(board, kind, seeds[kind], font_file) for kind in KINDS]
    w, h = panels[0].size
    chart = Image.new("RGB", (3 * w + 4 * GUTTER, 2 * h + 3 * GUTTER), PAPER)
    for i, panel in enumerate(panels):
        chart.paste(panel, (GUTTER + (w + GUTTER) * (i % 3), GUTTER + (h + GUTTER) * (i // 3)))
    return chart


def _panel(board: Artwork, kind: str, seed: int, font_file: Path) -> Image.Image:
    defective, planted = plant(board, kind, seed)
    scale = CLOSE_UP_HOLE if kind == "missing_hole" else CLOSE_UP
    w, h = PANEL[0] / scale, PANEL[1] / scale
    left = min(max(planted.at[0] - w / 2, 0.0), board.width - w)
    low = min(max(planted.at[1] - h / 2, 0.0), board.height - h)
    picture = render(defective, scale, (left, low, left + w, low + h))
    x, y = (planted.at[0] - left) * scale, picture.height - (planted.at[1] - low) * scale
    mask = Image.new("L", (picture.width * SMOOTH, picture.height * SMOOTH))
    ends = [value * SMOOTH for value in (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)]
    ImageDraw.Draw(mask).ellipse(ends, outline=255, width=4 * SMOOTH)
    picture.paste(RING, mask=mask.resize(picture.size, Image.Resampling.BOX))
    panel = Image.new("RGB", (picture.width, picture.height + CAPTION), PAPER)
    panel.paste(picture, (0, 0))
    font = partial(ImageFont.truetype, font_file, layout_engine=ImageFont.Layout.BASIC)
    number = KINDS.index(kind) + 1
    english, chinese = NAMES[kind]
    caption = f"{number}. {english}  {chinese}"
    ImageDraw.Draw(panel).text(
        (panel.width / 2, picture.height + CAPTION / 2), caption, INK, font(size=30), anchor="mm"
    )
    return panel
