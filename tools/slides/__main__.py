"""Slides of the lessons.

python -m tools.slides mark  [notebook ...]     write each cell's place in the deck into the notebook
python -m tools.slides build [notebook ...]     build/slides/NAME.html, each one file that needs no network
"""

import argparse
import os
import sys
from pathlib import Path

import nbformat

from helpers.settings import ROOT
from tools.notebooks import FOLDER, all_notebooks, write
from tools.slides.deck import NOTES, deck, pages, read_notes
from tools.slides.marks import headings, mark
from tools.slides.vendor import VendorError

BUILD = ROOT / "build" / "slides"


def main(arguments: list[str] | None = None) -> int:
    """Mark or build; the exit code is 1 if a deck could not be built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["mark", "build"])
    parser.add_argument("notebooks", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.what == "mark":
            for path in options.notebooks or all_notebooks():
                marked = nbformat.read(path, as_version=4)
                mark(marked)
                write(marked, path)
        else:
            for path in options.notebooks or lessons():
                target = build(path)
                count = len(pages(nbformat.read(path, as_version=4)))
                print(f"{os.path.relpath(target)}: {count} pages", flush=True)
            print("Open one in a browser: space goes on, S shows the speaker's window, Esc the overview.")
    except (VendorError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def lessons() -> list[Path]:
    """The notebooks that become decks."""
    return [path for path in all_notebooks() if path.parent == FOLDER]


def build(path: Path, folder: Path = BUILD, notes: Path = NOTES) -> Path:
    """Write the deck of the lesson at `path` and say where it is; a note without its slide is an error."""
    notebook = nbformat.read(path, as_version=4)
    said = read_notes(notes / f"{path.stem}.md")
    known = {
        match["text"] for cell in notebook.cells if cell.cell_type == "markdown" for match in headings(cell.source)
    }
    if lost := sorted(set(said) - known):
        raise ValueError(f"{notes / path.stem}.md: no slide has the heading {lost[0]!r}.")
    target = folder / f"{path.stem}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(deck(notebook, said, path.stem), encoding="utf-8")
    return target


if __name__ == "__main__":
    sys.exit(main())
