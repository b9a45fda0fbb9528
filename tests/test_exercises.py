"""Every exercise: the starter says "not yet", the solution "done", and so do short cuts and other right ways."""

import re
import textwrap
from collections import Counter

import nbformat
import pytest

from helpers.settings import ROOT
from tests.remembered import PREAMBLE
from tests.test_live_notebooks import compared, kernel
from tools import costs
from tools.exercises import MARK, WORK, derived, solution_of
from tools.notebooks import environment, lessons

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
    starters["1"].source += "\n# edited"  # a control
    assert derived(notebook, solution) != notebook.cells


def layer_check(message, check):
    return f'my_message = MESSAGES["{message}"]\n\n\ndef my_check(layer):\n{textwrap.indent(check, "    ")}'


# What a learner may write for each exercise, in place of the lines between `# solution` and `# starter`. Wrong answers
# hold the short cuts that come to mind; the right one is another way than the solution's.
MERGED = """result, left = [], list(found)
for kind, box in said:
    near = max(left, key=lambda each: iou(box, each[1]), default=0)
    if near and iou(box, near[1]) > 0.1:
        left.remove(near); result.append((kind, near[1]))
    else:
        result.append((ask, box))
return result + [(ask, box) for _, box in left]"""
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
OTHERS = "[name for name, tags in things.items() if ours.items() <= tags.items()]"
SORTED = """from graphlib import TopologicalSorter as T, CycleError
try:
    return list(T(needs).static_order())[::-1]
except CycleError:
    return []"""
TITLE = "What did Amazon do for its employees?"
ANSWERS = {  # by lesson and exercise: a form, what stands for its @ in wrong answers, and in a right one
    "01 1": ("box = @", ["0, 0, 700, 1039", "1084, 497, 1097, 519"], "900, 390, 1290, 660"),
    "01 2": ('my_words = WORDS["@"]', ["one line", "good or bad"], "reasons, then the word"),
    "01 3": ("@", [MERGED.replace("0.1", "0"), MERGED.replace("left.remove(near); ", "")], MERGED),
    "02 1": ("pooled, flat = @", ['"4 x 32 x 32, 8 x 16 x 16", "2048"', '"16, 8", "512"'], '"4x16x16,8x8x8", "512"'),
    "02 2": (
        "my_answer = answer.replace(@)",
        ['"", ""', '"np.max(window)", "np.nothing(window)"'],
        '"np.max(window)", "window[0, 0]"',
    ),
    "02 3": ("@", [layer_check("explained", LOOPS), layer_check("named", "return True")], layer_check("named", LOOPS)),
    "03 1": ("tokens, overlap = @", ["80, 20", "120, 50"], "75, 45"),
    "03 2": (
        FORM,
        ['[{"maxTokens": 300}, {"maxTokens": 1500}]', "[1500, 300]"],
        "[dict(maxTokens=t) for t in (1500, 300)]",
    ),
    "03 3": ("@", [PAIRS, EQUAL], SENTENCES),
    "04 1": ('my_question, my_years = "@]', [f'{TITLE}", [', f'{TITLE}", [2020, 2021'], 'How many work there?", [2021'),
    "04 2": ('my_rules = RULES["@"]', ["short", "short, with sources"], "a ticker, by example"),
    "04 3": (
        "@",
        [
            SUPPORT.replace("text.splitlines()", "[text]"),
            SUPPORT.replace("figures(' '.join(cited))", "' '.join(cited)"),
        ],
        SUPPORT,
    ),
    "05 1": ("possible = @", ["14", "6"], "len([7, 7, 14, 14, 12, 9]) + 2"),
    "05 2": ("@", [YEARS, SPAN.replace("if span", "if years")], SPAN),
    "05 3": ('my_prompt = TRY["@"]', ["strict", "helpful"], "sceptical"),
    "99 1": ("dollars = @", ["63 * 0.24", "9 * 2 * 0.24"], "0.48 * (2 * 24 + 15)"),
    "99 2": (
        OURS,
        ["[name for name in things if own and own in name]", OTHERS],
        OTHERS.replace(" if ", " if own and "),
    ),
    "99 3": ("@", ["return list(needs)", SORTED.replace("[::-1]", "")], SORTED),
}
# Cells whose second output may be another one, by lesson: what was sent is there, the state that was waited for is
# reached, the policies have spread, the passages are found at once; what was removed is gone.
SECOND_TIME = {"03": ("put_object(", "kb.wait(", "kb.when_allowed(", "kb.until_some("), "99": ("clean.remove(",)}
COARSE = "import matplotlib.pyplot as plt; plt.rcParams['savefig.dpi'] = 20"  # pictures are compared, but not looked at


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that runs a cell, in one kernel for all lessons: nbval gives each a new one."""
    with kernel(environment(state_file=tmp_path_factory.mktemp("state") / "workshop.json")) as run:
        assert run(f"{PREAMBLE}\n{COARSE}") == "done"
        yield run


def put_out(run, source):
    """What a cell with this source puts out."""
    cell = nbformat.v4.new_code_cell(source)
    assert run(cell) == "done", source
    return [output.get("text") or dict(output.get("data", {})) for output in cell.outputs]


@each_lesson
def test_each_cell_runs_twice_and_every_answer_gets_the_right_word(lesson, run):
    cells, solved = compared(lesson), exercises(nbformat.read(solution_of(lesson), 4))
    excused = SECOND_TIME.get(lesson.stem[:2], ())
    needless = set(excused)
    for cell in cells:
        exercise = MARK.match(cell.source)
        source = solved[exercise[1]].source if exercise else cell.source
        once, twice = put_out(run, source), put_out(run, source)
        may_differ = [piece for piece in excused if piece in source]
        assert once == twice or may_differ, source
        needless -= set(may_differ if once != twice else ())
        assert not exercise or str(once[-1]).endswith("done\n")
    assert not needless
    for number, cell in solved.items():
        form, wrong, right = ANSWERS[f"{lesson.stem[:2]} {number}"]
        for value in (*wrong, right):
            text = form.replace("@", value)
            source = WORK.sub(lambda found, text=text: textwrap.indent(text, found[1]) + "\n", cell.source)
            word = "done\n" if value == right else "not yet\n"
            assert str(put_out(run, source)[-1]).endswith(word), text


def test_control_a_cell_that_goes_on_from_where_it_was_is_seen(run):
    assert put_out(run, "n = 0") == put_out(run, "n = 0")
    assert put_out(run, "n += 1\nprint(n)") != put_out(run, "n += 1\nprint(n)")


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
