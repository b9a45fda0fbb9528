"""The font of the Chinese edition, cut from Noto Sans CJK SC: `python data/fonts/make_font.py [its .ttc]`.

It has ASCII, GB2312 (6,763 characters) and whatever else the Chinese edition writes.
TrueType outlines, since readers of PDFs get the text of those right.
"""

import sys
from pathlib import Path

from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont, newTable

ROOT = Path(__file__).resolve().parents[2]
SOURCE, SIMPLIFIED = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"), 2  # the font in it
NAME = "Workshop Sans SC"  # it is changed, so it has a name of its own
PUNCTUATION = "\u3000、。〈〉《》「」『』【】〔〕！（），．：；？～“”‘’…—·￥％＋－×÷°→←•"
WRITTEN = ("data/letters/zh/**/*.md", "locale/zh/*", "notebooks/zh/**/*.ipynb", "data/recordings/zh/*.json")


def characters() -> str:
    """Every character that the font is to have."""
    level = bytes(byte for high in range(0xB0, 0xF8) for low in range(0xA1, 0xFF) for byte in (high, low))
    files = sorted(file for pattern in WRITTEN for file in ROOT.glob(pattern) if file.is_file())
    written = {letter for file in files for letter in file.read_text(encoding="utf-8") if "\u2e7f" < letter <= "\uffef"}
    return "".join({*map(chr, range(32, 127)), *PUNCTUATION, *level.decode("gb2312", errors="ignore"), *written})


def made(source: Path) -> TTFont:
    """The font, cut, renamed and with TrueType outlines."""
    font = TTFont(source, fontNumber=SIMPLIFIED, recalcTimestamp=False)
    options = Options(layout_features=[], notdef_outline=True, name_IDs=["*"], hinting=False)
    options.drop_tables += ["GSUB", "GPOS", "BASE", "VORG", "vhea", "vmtx"]
    subsetter = Subsetter(options)
    subsetter.populate(text=characters())
    subsetter.subset(font)
    full = {1: NAME, 3: f"2.004;{NAME}", 4: f"{NAME} Regular", 6: f"{NAME.replace(' ', '')}-Regular", 16: NAME}
    for record in font["name"].names:
        record.string = full.get(record.nameID, record.toUnicode())
    shapes, glyphs = font.getGlyphSet(), {}
    for name in font.getGlyphOrder():
        pen = TTGlyphPen(None)
        shapes[name].draw(Cu2QuPen(pen, max_err=1.0, reverse_direction=True))
        glyphs[name] = pen.glyph()
    font["loca"], font["glyf"] = newTable("loca"), newTable("glyf")
    font["glyf"].glyphOrder, font["glyf"].glyphs = font.getGlyphOrder(), glyphs
    del font["CFF "]
    font["maxp"].tableVersion, font["maxp"].maxZones = 0x00010000, 1
    for field in (
        "TwilightPoints",
        "Storage",
        "FunctionDefs",
        "InstructionDefs",
        "StackElements",
        "SizeOfInstructions",
    ):
        setattr(font["maxp"], f"max{field}", 0)
    font["post"].formatType, font.sfntVersion = 3.0, "\0\1\0\0"
    return font


if __name__ == "__main__":
    made(Path(sys.argv[1]) if sys.argv[1:] else SOURCE).save(Path(__file__).with_name("WorkshopSansSC-Regular.ttf"))
