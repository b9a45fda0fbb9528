"""What README.md and INSTRUCTOR.md say about the notebooks is what the notebooks say themselves."""

import re

import nbformat
import pytest

from helpers.settings import ROOT
from tools.notebooks import lessons

README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
LESSONS = lessons()
AGENDA = re.compile(r"^\| (\d):(\d\d) \| (\d+) \| (.+?) \| ?(.*?) ?\|$", re.MULTILINE)


def agendas(text):
    """Start and length in minutes, and pause points, of each row of each agenda, by its heading."""
    found = {}
    for part in text.split("\n## ")[1:]:
        rows = [(60 * int(row[0]) + int(row[1]), int(row[2]), row[4]) for row in AGENDA.findall(part)]
        if rows:
            found[part.partition("\n")[0]] = rows
    return found


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_readme_has_a_row_with_the_minutes_of_the_notebook(path):
    opening = nbformat.read(path, 4).cells[0].source
    minutes = re.search(r"Minutes: (\d+)", opening)[1]
    rows = [line for line in README.splitlines() if line.startswith("|") and f"(notebooks/{path.name})" in line]
    row = next(line for line in rows if line.startswith("| [" + path.stem[:2]))
    assert row.split(" | ")[2] == minutes
    for dollars in re.findall(r"\$\d+\.\d+", opening):
        assert dollars in row


def test_the_agendas_add_up_and_their_pause_points_are_explained():
    found = agendas(GUIDE)
    wanted = {"Agenda: two hours": 120, "Agenda: half a day": 240, "Agenda: an afternoon more": 150}
    assert found.keys() == wanted.keys()
    for name, rows in found.items():
        starts, ends = zip(*((start, start + length) for start, length, _ in rows), strict=True)
        assert starts == (0, *ends[:-1]) and ends[-1] == wanted[name]
    explained = re.findall(r"^\*\*([A-Z]) · ", GUIDE, re.MULTILINE)
    named = {letter for rows in found.values() for *_, letters in rows for letter in letters.split(", ")}
    assert explained == sorted(named - {""})


def test_control_an_agenda_with_a_gap_is_noticed():
    text = "\n## Agenda: two hours\n\n| 0:00 | 10 | a | A |\n| 0:20 | 100 | b | |\n"
    assert agendas(text) == {"Agenda: two hours": [(0, 10, "A"), (20, 100, "")]}


@pytest.mark.parametrize("name", ["README.md", "INSTRUCTOR.md", "CONTRIBUTING.md"])
def test_every_make_target_that_is_named_exists(name):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE)
    assert named and set(named) <= targets
