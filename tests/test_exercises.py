"""Every exercise: the starter says "not yet", and with the worked solution pasted in the lesson says "done"."""

import re
from pathlib import Path

import nbformat
import pytest

from tools import costs, record
from tools.notebooks import FOLDER, environment, execute, lessons, write

MARK = re.compile(r"\A[^\n]*# Exercise (\d+)$", re.MULTILINE)
LESSONS = [path for path in lessons() if not path.stem.startswith("00")]
NAMES = [path.stem for path in LESSONS]


def exercises(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """The cells whose first line ends in `# Exercise 1` and so on, by number."""
    marked = [(MARK.match(cell.source), cell) for cell in notebook.cells if cell.cell_type == "code"]
    return {found[1]: cell for found, cell in marked if found}


def last_line_printed(cell: nbformat.NotebookNode) -> str:
    text = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    return text.strip().rpartition("\n")[2]


def solution_of(lesson: Path) -> Path:
    return FOLDER / "solutions" / lesson.name


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_a_lesson_ends_with_exercises_and_each_has_a_solution(lesson):
    notebook = nbformat.read(lesson, 4)
    starters, answers = exercises(notebook), exercises(nbformat.read(solution_of(lesson), 4))
    assert list(starters) == [str(number) for number in range(1, len(starters) + 1)]
    assert 1 <= len(starters) <= 3 and starters.keys() == answers.keys()
    title = re.compile("^## Your turn$", re.MULTILINE)
    titles = [number for number, cell in enumerate(notebook.cells) if title.search(cell.source)]
    assert len(titles) == 1 and all(notebook.cells.index(cell) > titles[0] for cell in starters.values())
    for number, starter in starters.items():
        assert any(f"**Exercise {number}.**" in cell.source for cell in notebook.cells[titles[0] :])
        # The same check, word for word: a solution that prints "done" by itself is none.
        check = starter.source.splitlines()[-1]
        assert "not yet" in check and answers[number].source.splitlines()[-1] == check
        assert answers[number].source != starter.source


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_the_unedited_starter_says_not_yet_and_the_solution_says_done(lesson):
    starters = exercises(nbformat.read(lesson, 4))
    assert {last_line_printed(cell) for cell in starters.values()} == {"not yet"}
    answers = exercises(nbformat.read(solution_of(lesson), 4))
    assert {last_line_printed(cell) for cell in answers.values()} == {"done"}


# What a learner may write for each exercise: a line of the solution, and what stands there instead. Wrong answers
# hold the short cuts that come to mind; right ones are another way than the solution's.
BOX, CHUNKS = "box = left, top, right, bottom = ", "tokens, overlap = "
LEVELS, OVERLAP = '[{"maxTokens": 1500}, {"maxTokens": 300}]', '"overlapTokens": 60'
POOL, ASKED = "np.mean(window)", 'my_question = "What did Amazon do for its employees?"'
OURS = "return [name for name, tags in things.items() if own and ours.items() <= tags.items()]"
FIXED = (
    '"chunkingStrategy": "HIERARCHICAL", "fixedSizeChunkingConfiguration": {"maxTokens": 300, "overlapPercentage": 9}'
)
ANSWERS = {
    ("01", "1"): (
        BOX + "930, 385, 1250, 632",
        [BOX + each for each in ("0, 0, 700, 1039", "0, 0, 14000, 10390", "0, 0, 400, 300", "1000, 0, 1300, 300")],
        [BOX + each for each in ("900, 390, 1290, 660", "960, 400, 1240, 640")],
    ),
    ("02", "1"): (
        POOL,
        ["np.max(window)", 'np.mean(window)").replace("np.max(x,", "np.mean(x,', "window"],
        ["np.min(window)", "(np.max(window) + 1)"],
    ),
    ("03", "1"): (
        CHUNKS + "80, 45",
        [CHUNKS + each for each in ("75, 0", "80, 20", "80, 60", "60, 45", "120, 50")],
        [CHUNKS + each for each in ("80, 50", "75, 45")],
    ),
    ("03", "2"): (
        LEVELS,
        ['[{"maxTokens": 300}, {"maxTokens": 1500}]', '[{"maxTokens": 1500}]', "[1500, 300]"],
        ['list(map(lambda size: {"maxTokens": size}, (1500, 300)))', "[dict(maxTokens=1500), dict(maxTokens=300)]"],
    ),
    ("03", "2, more"): (OVERLAP, ['"overlapTokens": 0', '"overlapTokens": 30', '"overlapTokens": "60"'], []),
    ("03", "2, kind"): ('"chunkingStrategy": "HIERARCHICAL"', ['"chunkingStrategy": "NONE"', FIXED], []),
    ("04", "1"): (
        ASKED + "  # Exercise 1\nmy_years = [2021]",
        [
            ASKED + "\nmy_years = []",
            ASKED + "\nmy_years = [2020, 2021]",
            ASKED + "\nmy_years = [2022]",
            'my_question = "What happened to employees in 2021?"\nmy_years = []',
        ],
        ['my_question = "How many people work there?"\nmy_years = [2021]', ASKED + "\nmy_years = list({2021})"],
    ),
    ("99", "1"): (
        OURS,
        [
            'return [f"claude-workshop-{own}"]',
            "return [name for name in things if own and own in name]",
            'return [name for name, tags in things.items() if own and tags.get("workshop-id") == own]',
            "return [name for name, tags in things.items() if ours.items() <= tags.items()]",
        ],
        [
            "return {name for name, tags in things.items() if own and ours == {key: tags.get(key) for key in ours}}",
            "return filter(lambda name: own and all(things[name].get(key) == ours[key] for key in ours), things)",
        ],
    ),
}


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_short_cuts_get_not_yet_and_other_right_answers_get_done(lesson, tmp_path):
    notebook = nbformat.read(solution_of(lesson), 4)
    solved, tried = exercises(notebook), []
    for (start, number), (part, wrong, right) in ANSWERS.items():
        if lesson.stem.startswith(start):
            source = solved[number[0]].source
            assert source.count(part) == 1
            for text, word in [*((text, "not yet") for text in wrong), *((text, "done") for text in right)]:
                cell = nbformat.v4.new_code_cell(source.replace(part, text).replace("# Exercise", "#"))
                tried.append((cell, word, text))
    assert {number[0] for start, number in ANSWERS if lesson.stem.startswith(start)} == solved.keys()
    notebook.cells = [*notebook.cells, *(cell for cell, _, _ in tried)]
    write(notebook, tmp_path / lesson.name)
    outcome = execute(tmp_path / lesson.name, environment())
    assert not outcome.error
    cells = outcome.notebook.cells[-len(tried) :]
    found = [(text, last_line_printed(cell)) for cell, (_, _, text) in zip(cells, tried, strict=True)]
    assert found == [(text, word) for _, word, text in tried]


# Lessons 01 and 02 take half a minute each; what their exercises accept is tested with the cells alone.
@pytest.mark.parametrize("lesson", LESSONS[2:], ids=NAMES[2:])
def test_with_the_solution_pasted_in_the_lesson_says_done(lesson, tmp_path):
    notebook = nbformat.read(lesson, 4)
    answers = exercises(nbformat.read(solution_of(lesson), 4))
    for number, cell in exercises(notebook).items():
        cell.source = answers[number].source
    write(notebook, tmp_path / lesson.name)
    outcome = execute(tmp_path / lesson.name, environment())
    assert not outcome.error
    assert {last_line_printed(cell) for cell in exercises(outcome.notebook).values()} == {"done"}


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_a_solution_is_small_and_says_which_exercise_it_solves(lesson):
    notebook = nbformat.read(solution_of(lesson), 4)
    assert len(notebook.cells) <= len(nbformat.read(lesson, 4).cells) / 2
    opening, last = notebook.cells[0].source, notebook.cells[-1].source
    assert "Solution" in opening and f"../{lesson.name}#Your-turn" in opening and "**Exercise" in opening
    assert f"](../{lesson.name})" in last


def test_costs_are_added_up_from_every_form_of_answer():
    converse = {"usage": {"inputTokens": 10, "outputTokens": 3, "totalTokens": 13, "cacheReadInputTokens": 4}}
    wanted = {"inputTokens": 10, "outputTokens": 3, "cacheReadInputTokens": 4}
    assert costs.usage_of({"json": converse}) == wanted
    assert costs.usage_of({"events": [{"data": {"role": "x"}}, {"data": converse}]}) == wanted
    messages = {"usage": {"input_tokens": 10, "output_tokens": 3}}
    assert costs.usage_of({"json": messages}) == {"inputTokens": 10, "outputTokens": 3}
    assert costs.limit_of({"body": '{"max_tokens": 7}'}) == costs.limit_of({"inferenceConfig": {"maxTokens": 7}})


def test_dollars_and_quota_by_hand():
    tokens = {"inputTokens": 1_000_000, "outputTokens": 90_000, "thinking": 10_000, "cacheReadInputTokens": 500_000}
    use = costs.Use("x", 2, 0, tokens, 8000)
    assert use.dollars("claude-sonnet-5-5") == pytest.approx(2.00 + 1.00 + 0.05)
    assert costs.quota_table([use]).endswith("| x | 2 | 754,000 | 1,500,000 |")
    assert costs.arithmetic([use]) == (
        "(1,000,000 × $2.00 + 0 × $2.50 + 500,000 × $0.10 + 90,000 × $10.00 + 10,000 × $10.00) / 1,000,000 = $3.050"
    )
    assert costs.total([use, use]).tokens["outputTokens"] == 180_000


def test_a_solution_is_not_recorded_over_its_lesson(capsys):
    with pytest.raises(SystemExit):
        record.main(["--yes", "notebooks/solutions/04_financial_rag.ipynb"])
    assert "no recording of its own" in capsys.readouterr().err
