"""The finance lesson's retrieval part over Amazon's own letters, where they are at hand."""

import os

import nbformat
import pytest

from helpers.settings import ROOT
from tools import run
from tools.notebooks import FOLDER, write

LETTERS = ROOT / os.environ.get("WORKSHOP_LETTERS_DIR", "../shared/letters")


@pytest.mark.skipif(
    not list(LETTERS.glob("AMZN-20*.pdf")), reason=f"Amazon's letters are not in {LETTERS}: make letters"
)
def test_the_retrieval_part_runs_over_the_real_letters(tmp_path, monkeypatch, capsys):
    lesson = nbformat.read(FOLDER / "04_financial_rag.ipynb", as_version=4)
    code = [cell.source for cell in lesson.cells if cell.cell_type == "code"]
    opening = "\n".join(line for line in code[1].splitlines() if line.startswith(("QUESTION", "found")))
    knowledge_base = "KB = retrieval.knowledge_base_id()"
    asking = [cell for cell in code[2:] if "retrieval.retrieve(" in cell and "exam" not in cell and "ask(" not in cell]
    pictures = [cell for cell in code if "bars(labels, scores" in cell]
    cells = [code[0], f"{knowledge_base}\n{opening}", asking[0], *pictures, *asking[1:]]
    copy = tmp_path / "retrieval_part.ipynb"
    write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), copy)
    monkeypatch.setenv("WORKSHOP_LETTERS_DIR", str(LETTERS.resolve()))
    monkeypatch.setattr(run, "BUILD", tmp_path)

    assert run.main([str(copy)]) == 0, capsys.readouterr().out
    done = nbformat.read(tmp_path / "notebooks" / copy.name, as_version=4)
    table = next(output.data["text/markdown"] for output in done.cells[2].outputs if "data" in output)
    assert len(asking) >= 3 and len(pictures) == 1
    assert "| AMZN-2022-Shareholder-Letter.pdf | 6 |" in table.splitlines()[2]
