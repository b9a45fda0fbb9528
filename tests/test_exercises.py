"""Every exercise: the starter says "not yet", the solution "done", and so do short cuts and other right ways."""

import re
import textwrap
from collections import Counter

import nbformat
import pytest

from helpers.settings import ROOT
from tests.remembered import PREAMBLE
from tools import costs, record
from tools.exercises import MARK, WORK, derived, solution_of
from tools.notebooks import environment, execute, lessons, write

LESSONS = [path for path in lessons() if solution_of(path).exists()]
TASK = re.compile(r"\A### Exercise (\d) · (look|change|build) · (\d+) minutes$", re.MULTILINE)
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def exercises(notebook):
    """The cells whose first line ends in `# Exercise 1` and so on, by number."""
    marked = [(MARK.match(cell.source), cell) for cell in notebook.cells if cell.cell_type == "code"]
    return {found[1]: cell for found, cell in marked if found}


def last_line_printed(cell):
    text = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    return text.strip().rpartition("\n")[2]


@each_lesson
def test_a_lesson_has_three_exercises_and_they_are_those_of_its_solutions(lesson):
    notebook, solution = nbformat.read(lesson, 4), nbformat.read(solution_of(lesson), 4)
    sources = [cell.source for cell in notebook.cells]
    assert [cell.source for cell in derived(notebook, solution)] == sources, "run: make exercises"
    tasks = [TASK.match(source) for source in sources if source.startswith("### Exercise")]
    assert [task.group(1, 2) for task in tasks] == [("1", "look"), ("2", "change"), ("3", "build")]
    assert 12 <= int(tasks[2][3]) <= 18
    row = " | ".join(task[3] for task in tasks)
    assert f"| {lesson.stem[:2]} | {row} |" in (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
    starters, answers = exercises(notebook), exercises(solution)
    assert list(starters) == list(answers) == ["1", "2", "3"]
    for number, cell in answers.items():
        assert WORK.search(cell.source) and "# solution" not in starters[number].source
        assert re.search(r'print\("done" if .* else "not yet"\)$', cell.source)
        assert (last_line_printed(starters[number]), last_line_printed(cell)) == ("not yet", "done")
    opening, last = solution.cells[0].source, solution.cells[-1].source
    assert "Solution" in opening and f"../{lesson.name}#Your-turn" in opening and "**Exercise" in opening
    assert f"](../{lesson.name})" in last


def test_control_a_starter_that_was_edited_in_the_lesson_is_seen():
    notebook, solution = (nbformat.read(path, 4) for path in (LESSONS[0], solution_of(LESSONS[0])))
    exercises(notebook)["1"].source += "\n# edited"
    assert derived(notebook, solution) != notebook.cells


def layer_check(message, check):
    return f'my_message = MESSAGES["{message}"]\n\n\ndef my_check(layer):\n{textwrap.indent(check, "    ")}'


# What a learner may write for each exercise, in place of the lines between `# solution` and `# starter`. Wrong answers
# hold the short cuts that come to mind; right ones are another way than the solution's.
MERGED = """result, left = [], list(found)
for kind, box in said:
    near = max(left, key=lambda each: iou(box, each[1]), default=0)
    if near and iou(box, near[1]) > 0.1:
        left.remove(near); result.append((kind, near[1]))
    else:
        result.append((ask, box))
return result + [(ask, box) for _, box in left]"""
NEAR = "next((each for each in left if iou(box, each[1]) > 0.1), 0)"
CORNERS = """x = np.random.default_rng(1).standard_normal((2, 3, 4, 7))
corners = [x[:, :, row::2, column:6:2] for row in (0, 1) for column in (0, 1)]
y = layer.forward(x)
return y.shape == (2, 3, 2, 3) and np.allclose(y, sum(corners) / 4)"""
LOOPS = """x = np.arange(2 * 2 * 5 * 4).reshape(2, 2, 5, 4) ** 2.0
y = layer.forward(x)
return y.shape == (2, 2, 2, 2) and all(
    y[n, c, i, j] == x[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for n, c, i, j in np.ndindex(y.shape)
)"""
FORM = """form = {"levelConfigurations": @, "overlapTokens": 60}
my_chunking = {"chunkingStrategy": "HIERARCHICAL", "hierarchicalChunkingConfiguration": form}"""
SENTENCES = """spans, at, size = [], 0, 4 * tokens
while at < len(text):
    fits = [end for end in ends(text) if at < end <= at + size]
    end = fits[-1] if fits else at + size
    spans.append((at, end - at))
    at = end
return spans"""
PAIRS = "stops = [0, *ends(text)]\nreturn [(a, b - a) for a, b in zip(stops, stops[1:])]"
EQUAL = "return [(at, min(4 * tokens, len(text) - at)) for at in range(0, len(text), 4 * tokens)]"
SUPPORT = """found = []
for line in text.splitlines():
    cited = [passages[int(n) - 1] for n in findall(r"\\[(\\d+)\\]", line) if 0 < int(n) <= len(passages)]
    found += [each for each in figures(line) if each not in figures(' '.join(cited))]
return found"""
SPAN = """LETTERS = range(2019, 2023)
years = [int(year) for year in re.findall(r"20\\d\\d", question)]
span = re.search(r"20\\d\\d ?(to|and|-) ?20", question) and not question.startswith("Compare")
if span:
    years = range(years[0], years[-1] + 1)
return sorted({year for year in years if year in LETTERS})"""
YEARS = 'return sorted({int(year) for year in re.findall(r"20\\d\\d", question)} & {2019, 2020, 2021, 2022})'
OURS = 'ours = {"workshop": "claude-on-bedrock", "workshop-id": own}\nreturn @'
SORTED = """from graphlib import TopologicalSorter as T, CycleError
try:
    return list(T(needs).static_order())[::-1]
except CycleError:
    return []"""
BY_HAND = """left, order = {*needs, *sum(needs.values(), [])}, []
while left:
    free = [each for each in left if not any(each in needs.get(other, []) for other in left)]
    if not free:
        return ()
    order.append(free[0])
    left.remove(free[0])
return tuple(order)"""
TITLE = "What did Amazon do for its employees?"
ANSWERS = {  # by lesson and exercise: a form, what stands for its @ in wrong answers, and in right ones
    "01 1": (
        "box = @",
        ["0, 0, 700, 1039", "0, 0, 400, 300", "1084, 497, 1097, 519"],
        ["900, 390, 1290, 660", "1060, 477, 1120, 540"],
    ),
    "01 2": (
        'my_words = WORDS["@"]',
        ["a plain question", "one line", "good or bad"],
        ["one word of seven", "reasons, then the word"],
    ),
    "01 3": (
        "@",
        [
            "return [(kind, box) for (kind, _), (_, box) in zip(said, found)]",
            MERGED.replace("0.1", "0"),
            MERGED.replace("left.remove(near); ", ""),
        ],
        [MERGED, MERGED.replace("max(left, key=lambda each: iou(box, each[1]), default=0)", NEAR)],
    ),
    "02 1": (
        "pooled, flat = @",
        ['"4 x 32 x 32, 8 x 16 x 16", "2048"', '"4 x 16 x 16, 8 x 8 x 8", "64"', '"16, 8", "512"'],
        ['"4x16x16,8x8x8", "512"', '", ".join(f"{c} x {64 // c} x {64 // c}" for c in (4, 8)), f"{8 * 8 * 8}"'],
    ),
    "02 2": (
        "my_answer = answer.replace(@)",
        ['"", ""', '"np.max(", "np.mean("', '"np.max(window)", "np.nothing(window)"'],
        ['"np.max(window)", "np.min(window)"', '"np.max(window)", "window[0, 0]"'],
    ),
    "02 3": (
        "@",
        [
            layer_check("explained", CORNERS),
            layer_check("named", "return True"),
            layer_check("named", CORNERS.replace("(2, 3, 4, 7)", "(1, 1, 4, 7)")),
        ],
        [layer_check("by example", CORNERS), layer_check("named", LOOPS)],
    ),
    "03 1": ("tokens, overlap = @", ["80, 20", "60, 45", "120, 50"], ["80, 50", "75, 45"]),
    "03 2": (
        FORM,
        ['[{"maxTokens": 300}, {"maxTokens": 1500}]', '[{"maxTokens": 1500}]', "[1500, 300]"],
        ['list(map(lambda size: {"maxTokens": size}, (1500, 300)))', "[dict(maxTokens=1500), dict(maxTokens=300)]"],
    ),
    "03 3": (
        "@",
        ["return cut(text, tokens)", PAIRS, EQUAL],
        [SENTENCES, SENTENCES.replace("fits[-1] if fits else", "max(fits) if fits else")],
    ),
    "04 1": (
        'my_question, my_years = "@]',
        [f'{TITLE}", [', f'{TITLE}", [2020, 2021', f'{TITLE}", [2022'],
        [f'{TITLE}", [*{{2021}}', 'How many people work there?", [2021'],
    ),
    "04 2": (
        'my_rules = RULES["@"]',
        ["short", "careful", "short, with sources"],
        ["a ticker", "a ticker, by example"],
    ),
    "04 3": (
        "@",
        [
            "return [each for each in figures(text) if not any(each in figures(one) for one in passages)]",
            SUPPORT.replace("text.splitlines()", "[text]"),
            SUPPORT.replace("figures(' '.join(cited))", "' '.join(cited)"),
        ],
        [SUPPORT, SUPPORT.replace("text.splitlines()", 'text.split("\\n")')],
    ),
    "05 1": ("possible = @", ["14", "6", "9"], ["len([7, 7, 14, 14, 12, 9]) + 2", "44 - 36"]),
    "05 2": (
        "@",
        [YEARS, SPAN.replace("if span", "if years"), SPAN.replace("if year in LETTERS", "")],
        [SPAN, SPAN.replace("sorted(", "list(")],
    ),
    "05 3": ('my_prompt = TRY["@"]', ["plain", "strict", "helpful"], ["correcting", "sceptical"]),
    "99 1": ("dollars = @", ["63 * 0.24", "2 * 2 * 5.76", "9 * 2 * 0.24"], ["30.24", "0.48 * (2 * 24 + 15)"]),
    "99 2": (
        OURS,
        [
            "[name for name in things if own and own in name]",
            '[name for name, tags in things.items() if own and tags.get("workshop-id") == own]',
            "[name for name, tags in things.items() if ours.items() <= tags.items()]",
        ],
        [
            "{n for n, tags in things.items() if own and ours == {k: tags.get(k) for k in ours}}",
            "filter(lambda n: own and all(things[n].get(k) == ours[k] for k in ours), things)",
        ],
    ),
    "99 3": (
        "@",
        [
            "return list(needs)",
            "return list(needs) + [under for each in needs.values() for under in each]",
            SORTED.replace("[::-1]", ""),
        ],
        [SORTED, BY_HAND],
    ),
}
# Cells whose second output may be another one, by lesson: what was sent is there, the state that was waited for is
# reached, the policies have spread, the passages are found at once; what was removed is gone.
SECOND_TIME = {"03": ("put_object(", "kb.wait(", "kb.when_allowed(", "kb.until_some("), "99": ("clean.remove(",)}
COARSE = "import matplotlib; matplotlib.rcParams['savefig.dpi'] = 20"  # pictures are compared, but not looked at


def run_twice(path, notebook, then=()):
    """Each code cell with its second run, one after the other in one kernel, and the cells of `then`, run last."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code" for _ in range(2)]
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in (*sources, *then)]
    write(notebook, path)
    outcome = execute(path, environment(), preamble=f"{PREAMBLE}\n{COARSE}")
    assert not outcome.error
    twice, after = outcome.notebook.cells[: len(sources)], outcome.notebook.cells[len(sources) :]
    return list(zip(twice[::2], twice[1::2], strict=True)), after


def put_out(cell):
    return [output.get("text") or dict(output.get("data", {})) for output in cell.outputs]


@each_lesson
def test_each_cell_runs_twice_and_every_answer_gets_the_right_word(lesson, tmp_path):
    notebook, solved = nbformat.read(lesson, 4), exercises(nbformat.read(solution_of(lesson), 4))
    tried, wanted = [], []
    for number, cell in exercises(notebook).items():
        cell.source = solved[number].source
        form, wrong, right = ANSWERS[f"{lesson.stem[:2]} {number}"]
        assert len(wrong) >= 3 and len(right) >= 2
        for value in (*wrong, *right):
            text = form.replace("@", value)
            tried.append(WORK.sub(lambda found, text=text: textwrap.indent(text, found[1]) + "\n", cell.source))
            wanted.append((text, "not yet" if value in wrong else "done"))
    pairs, after = run_twice(tmp_path / lesson.name, notebook, tried)
    assert [(text, last_line_printed(cell)) for (text, _), cell in zip(wanted, after, strict=True)] == wanted
    done = [last_line_printed(cell) for pair in pairs for cell in pair if MARK.match(cell.source)]
    assert done == ["done"] * 6
    excused = SECOND_TIME.get(lesson.stem[:2], ())
    differ = {one.source: (put_out(one), put_out(two)) for one, two in pairs if put_out(one) != put_out(two)}
    assert not [each for source, each in differ.items() if not any(piece in source for piece in excused)]
    assert all(any(piece in source for source in differ) for piece in excused), "no longer needed"


def test_control_a_cell_that_goes_on_from_where_it_was_is_seen(tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in ("n = 0", "n += 1\nprint(n)")]
    pairs, _ = run_twice(tmp_path / "x.ipynb", nbformat.v4.new_notebook(cells=cells))
    assert [put_out(one) == put_out(two) for one, two in pairs] == [True, False]


def test_dollars_and_quota_by_hand():
    tokens = {"inputTokens": 1_000_000, "outputTokens": 90_000, "thinking": 10_000, "cacheReadInputTokens": 500_000}
    use = Counter(tokens, calls=2, limits=8000)
    assert costs.dollars(use, "claude-sonnet-5-5") == pytest.approx(2.00 + 1.00 + 0.05)
    assert costs.quota_table({"x": use}).endswith("| x | 2 | 754,000 | 1,500,000 |")
    assert costs.arithmetic({"x": use}) == (
        "(1,000,000 × $2.00 + 0 × $2.50 + 500,000 × $0.10 + 90,000 × $10.00 + 10,000 × $10.00) / 1,000,000 = $3.050"
    )
    invoked = {"json": {"usage": {"input_tokens": 10, "output_tokens": 3}}}  # its counts have names of their own
    use = costs.use_of("bedrock-runtime.InvokeModel", {"body": '{"max_tokens": 7}'}, invoked)
    assert use == {"inputTokens": 10, "outputTokens": 3, "thinking": 5000, "calls": 1, "limits": 7}


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/zh"])
def test_a_solution_is_not_recorded_over_its_lesson(folder, capsys):
    with pytest.raises(SystemExit):
        record.main([f"{folder}/solutions/04_financial_rag.ipynb"])
    assert "no recording of its own" in capsys.readouterr().err
