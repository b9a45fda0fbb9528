"""The checks of lesson 02 on its recorded answers, and on each of them broken: the check that should catches it."""

import json
import runpy
from types import ModuleType

import nbformat
import numpy as np
import pytest

from helpers import workshop
from helpers.settings import ROOT
from tests.loopback.recorded import text_of
from tools.notebooks import FOLDER

CELLS = [each.source for each in nbformat.read(FOLDER / "02_coding_tutor.ipynb", 4).cells if each.cell_type == "code"]
LESSON = {"workshop": workshop}
exec(next(each for each in CELLS if "def program_in" in each).partition("\ncompile(")[0], LESSON)
program_in = LESSON["program_in"]


def answers():
    """The recorded answers to the lesson's own prompts, by the number of messages before and by max tokens."""
    stored = json.loads((ROOT / "data/recordings/02_coding_tutor.json").read_text(encoding="utf-8"))
    prompts = json.loads((ROOT / "data/tutor/prompts.json").read_text(encoding="utf-8")).values()
    found = {}
    for entry in stored["entries"]:
        request = entry["request"]
        said = request["messages"][-1]["content"][0]["text"] if "messages" in request else ""
        if entry["call"] == "bedrock-runtime.ConverseStream" and said in prompts:
            found[len(request["messages"]), request["inferenceConfig"]["maxTokens"]] = text_of(entry)
    return found


def run(code, name, **options):
    """What the check leaves of a program; in this process: the sandbox has tests of its own."""
    answer, results = ModuleType("__main__"), {}
    exec(code, vars(answer))
    check = runpy.run_path(str(ROOT / f"data/tutor/{name}.py"))[name]
    with np.errstate(all="ignore"):
        check(answer, results, **options)
    return {key: np.array(value) for key, value in results.items()}


def wrong(code, name):
    """The rows that do not pass, by name, with their verdicts."""
    return {row[0]: row[-1] for row in run(code, name)["checks"].tolist() if row[-1] != "pass"}


LEARN = program_in(answers()[5, 16_000])
CONVOLUTIONS = {"layer 0, Conv2D", "layer 3, Conv2D"}
POOLINGS = {"layer 2, MaxPool2D", "layer 5, MaxPool2D"}
PAD = "np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))"
DOWN = "layer.W = layer.W - learning_rate * layer.dW"


def changed(*changes):
    code = LEARN.partition("if __name__")[0]
    for old, new in changes:
        assert code.count(old) == 1, f"{code.count(old)} times: {old}"
        code = code.replace(old, new)
    return code


STEP = {f"training step, layer {number}, {name}" for number in (0, 3, 7) for name in "Wb"}
SOFTMAX, LAST = "layer 8, Softmax", "self.layers[-1].forward(self"
MISTAKES = {  # what is written in place of what, and which checks catch it
    "padding by the edge": (PAD, PAD[:-1] + ', mode="edge")', CONVOLUTIONS),
    "mean for maximum": ("windows.max(axis=4)", "windows.mean(axis=4)", POOLINGS),
    "leaky": ("np.maximum(0, x)", "np.maximum(0.01 * x, x)", {"layer 1, ReLU", "layer 4, ReLU"}),
    "images mixed": ("x.reshape(num_images, channels *", "x.T.reshape(num_images, channels *", {"layer 6, Flatten"}),
    "sign of a bias": ("x @ self.W + self.b", "x @ self.W - self.b", {"layer 7, Dense"}),
    "softmax overflows": ("shifted = x - np.max(x, axis=1, keepdims=True)", "shifted = x", {SOFTMAX}),
    "softmax of columns": ("np.sum(exps, axis=1", "np.sum(exps, axis=0", {SOFTMAX, "rows sum to one"}),
    "seed not used": ("default_rng(seed)", "default_rng()", {"same seed, same output"}),
    "layers not in turn": (LAST, LAST.replace("(self", "(-self"), {"layers in turn"}),
}
WRONG_GRADIENTS = {
    "wrong sign": (DOWN, DOWN.replace("-", "+"), {name for name in STEP if name.endswith("W")}),
    "mean for sum": ("self.db = rows.sum(axis=0)", "self.db = rows.mean(axis=0)",
                     {f"{name}, b" for name in (*CONVOLUTIONS, "training step, layer 0", "training step, layer 3")}),
    "ReLU left out": ("return grad * self.positive", "return grad",
                      {"layer 1, ReLU, input", "layer 4, ReLU, input", *(n for n in STEP if "layer 7" not in n)}),
    "loss": ("image_numbers, y].mean())", "image_numbers, y].sum())", {"training step, loss"}),
    "no train_step": ("def train_step", "def step", {"training step"}),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES | WRONG_GRADIENTS)
def test_a_wrong_layer_or_gradient_is_caught_and_no_other(mistake):
    old, new, names = (MISTAKES | WRONG_GRADIENTS)[mistake]
    assert wrong(changed((old, new)), "check_layers" if mistake in MISTAKES else "check_gradients").keys() == names


@pytest.mark.parametrize(("old", "new", "name", "sentence"), [
    ("class SimpleCNN", "class Other", "network", "module '__main__' has no attribute 'SimpleCNN': the prompt asks"),
    ("self.layers = [", "self.parts = [", "network", "'SimpleCNN' object has no attribute 'layers': "),
    ("            Flatten(),", "            type('Flatten', (), {})(),", "layer 6, Flatten",
     "it has no `forward`, which the prompt asks for"),
    ("            Softmax(),", "            type('Dropout', (ReLU,), {})(),", "Softmax", "`layers` holds none of them"),
    ("features = 8 *", "features = 9 *", "layer 7, Dense", "ValueError: matmul"),
])  # fmt: skip
def test_what_lacks_a_name_or_does_not_run_is_said_in_a_sentence(old, new, name, sentence):
    assert wrong(changed((old, new)), "check_layers")[name].startswith(sentence)


def test_the_training_tells_a_network_that_learns_from_one_that_cannot():
    right, stuck = (run(code, "train", epochs=6) for code in (changed(), changed((DOWN, "pass"))))
    assert right["accuracies"][-1] > 0.8 > 0.3 > stuck["accuracies"][-1]  # after 6 of the lesson's 60 epochs
    assert right["predicted"].shape == right["labels"].shape == (450,) and len(right["losses"]) == 6
