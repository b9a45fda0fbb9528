"""Layer, gradient and training checks on networks: the right one passes, each mistake is caught."""

import pytest

from helpers import layer_checks
from helpers.layer_checks import Check, check_gradients, check_layers, check_training, digits, harness
from helpers.sandbox import run_python

NETWORK = """
import numpy as np

class Conv2D:
    def __init__(self, rng, channels, filters, size=3):
        self.W = rng.normal(0, 0.2, (filters, channels, size, size))
        self.b = np.zeros(filters)
        self.padding = 0
    def forward(self, x):
        k = self.W.shape[2]
        x = np.pad(x, ((0, 0), (0, 0), (self.padding, self.padding), (self.padding, self.padding)))
        self.windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))
        return np.einsum("nchwij,fcij->nfhw", self.windows, self.W, optimize=True) + self.b[:, None, None]
    def backward(self, grad):
        self.dW = np.einsum("nchwij,nfhw->fcij", self.windows, grad, optimize=True)
        self.db = grad.sum((0, 2, 3))
        k = self.W.shape[2]
        wide = np.pad(grad, ((0, 0), (0, 0), (k - 1, k - 1), (k - 1, k - 1)))
        windows = np.lib.stride_tricks.sliding_window_view(wide, (k, k), axis=(2, 3))
        return np.einsum("nfhwij,fcij->nchw", windows, self.W[:, :, ::-1, ::-1], optimize=True)

class ReLU:
    def forward(self, x):
        self.x = x
        return np.maximum(x, 0)
    def backward(self, grad):
        return grad * (self.x > 0)

class MaxPool2D:
    def forward(self, x):
        n, c, h, w = x.shape
        self.x = x
        self.tiles = x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2)
        return self.tiles.max((3, 5))
    def backward(self, grad):
        best = self.tiles == self.tiles.max((3, 5), keepdims=True)
        out = np.zeros(self.x.shape)
        n, c, h, _, w, _ = best.shape
        out[:, :, : 2 * h, : 2 * w] = (best * grad[:, :, :, None, :, None]).reshape(n, c, 2 * h, 2 * w)
        return out

class Flatten:
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)
    def backward(self, grad):
        return grad.reshape(self.shape)

class Dense:
    def __init__(self, rng, inputs, outputs):
        self.W = rng.normal(0, 1 / np.sqrt(inputs), (inputs, outputs))
        self.b = np.zeros(outputs)
    def forward(self, x):
        self.x = x
        return x @ self.W + self.b
    def backward(self, grad):
        self.dW, self.db = self.x.T @ grad, grad.sum(0)
        return grad @ self.W.T

class Softmax:
    def forward(self, x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

class SimpleCNN:
    def __init__(self, seed=0, input_shape=(1, 28, 28)):
        rng = np.random.default_rng(seed)
        side = (input_shape[1] - 2) // 2
        dense = Dense(rng, 8 * side * side, 10)
        self.layers = [Conv2D(rng, 1, 8), ReLU(), MaxPool2D(), Flatten(), dense, Softmax()]
    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x
    def train_step(self, x, labels, learning_rate):
        p = self.forward(x)
        loss = -np.log(p[range(len(x)), labels]).mean()
        grad = p.copy()
        grad[range(len(x)), labels] -= 1
        grad /= len(x)
        for layer in self.layers[-2::-1]:
            grad = layer.backward(grad)
        for layer in self.layers:
            if hasattr(layer, "W"):
                layer.W -= learning_rate * layer.dW
                layer.b -= learning_rate * layer.db
        return loss
"""


def changed(*changes: tuple[str, str]) -> str:
    code = NETWORK
    for old, new in changes:
        assert code.count(old) == 1, f"{code.count(old)} times: {old}"
        code = code.replace(old, new)
    return code


def failed(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.verdict for check in checks if check.verdict != "pass"}


def layer_checks_of(code: str) -> list[Check]:
    return check_layers(run_python(code, harness=harness("layers")))


def test_a_right_network_passes_every_check() -> None:
    run = run_python(NETWORK, harness=harness("layers"))
    checks = check_layers(run)
    assert failed(checks) == {}
    assert [check.name for check in checks] == [
        "output shape",
        "rows sum to one",
        "same seed, same output",
        "layers in turn",
        "layer 0, Conv2D",
        "layer 1, ReLU",
        "layer 2, MaxPool2D",
        "layer 3, Flatten",
        "layer 4, Dense",
        "layer 5, Softmax",
    ]
    assert layer_checks.layers(run)[0] == layer_checks.Layer("Conv2D", (10, 1, 28, 28), (10, 8, 26, 26), 80)
    assert layer_checks.layers(run)[4] == layer_checks.Layer("Dense", (10, 1352), (10, 10), 13530)


SAME = (("self.padding = 0", "self.padding = 1"), ("(input_shape[1] - 2) // 2", "input_shape[1] // 2"))
PAD = "np.pad(x, ((0, 0), (0, 0), (self.padding, self.padding), (self.padding, self.padding)))"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(SAME, id="same padding"),
        pytest.param(
            (*SAME, ("self.padding, self.padding), (self.padding, self.padding", "1, 1), (1, 1")),
            id="undeclared",
        ),
        pytest.param(
            (("        self.b = np.zeros(filters)\n", ""), (" + self.b[:, None, None]", "")), id="no bias"
        ),
        pytest.param(
            (
                ("x @ self.W + self.b", "x @ self.V.T + self.c"),
                (
                    "        self.W = rng.normal(0, 1 / np.sqrt(inputs), (inputs, outputs))\n        self.b",
                    "        self.V = rng.normal(0, 1, (outputs, inputs))\n        self.c",
                ),
            ),
            id="other names",
        ),
    ],
)
def test_a_right_network_may_be_written_otherwise(changes: tuple[tuple[str, str], ...]) -> None:
    assert failed(layer_checks_of(changed(*changes))) == {}


def test_channels_last_arrays_are_read_too() -> None:
    code = changed(
        (
            '"nchwij,fcij->nfhw", self.windows, self.W, optimize=True) + self.b[:, None, None]',
            '"nhwcij,ijcf->nhwf", self.windows, self.W, optimize=True) + self.b',
        ),
        ("(filters, channels, size, size)", "(size, size, channels, filters)"),
        (PAD, "np.pad(x, ((0, 0), (self.padding, self.padding), (self.padding, self.padding), (0, 0)))"),
        ("k = self.W.shape[2]\n        x", "k = self.W.shape[0]\n        x"),
        ("(x, (k, k), axis=(2, 3))", "(x, (k, k), axis=(1, 2))"),
        ("n, c, h, w = x.shape\n", "n, h, w, c = x.shape\n"),
        (
            "x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2)",
            "x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)",
        ),
        ("return self.tiles.max((3, 5))", "return self.tiles.max((2, 4))"),
    )
    assert failed(layer_checks_of(code)) == {}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        pytest.param(
            (*SAME, (PAD, PAD[:-1] + ', mode="edge")')),
            "layer 0, Conv2D",
            id="padding with the edge's values",
        ),
        pytest.param(
            (*SAME, (PAD, "np.pad(x, ((0, 0), (0, 0), (0, 2), (0, 2)))")),
            "layer 0, Conv2D",
            id="padding on one side",
        ),
        pytest.param(
            (("self.padding = 0", "self.padding = 1"), (PAD, "x")),
            "layer 0, Conv2D",
            id="declared padding not done",
        ),
        pytest.param(
            (("self.windows, self.W,", "self.windows, self.W[:, :, ::-1, ::-1],"),),
            "layer 0, Conv2D",
            id="flipped kernel",
        ),
        pytest.param(((" + self.b[:, None, None]", ""),), "layer 0, Conv2D", id="bias forgotten"),
        pytest.param((("np.maximum(x, 0)", "np.where(x > 0, x, 0.01 * x)"),), "layer 1, ReLU", id="leaky"),
        pytest.param(
            (("return self.tiles.max", "return self.tiles.mean"),),
            "layer 2, MaxPool2D",
            id="mean for maximum",
        ),
        pytest.param(
            (
                (
                    "return self.tiles.max((3, 5))",
                    "x = np.maximum(x[:, :, 1:], x[:, :, :-1]); return np.maximum(x[..., 1:], x[..., :-1])",
                ),
                ("side = (input_shape[1] - 2) // 2", "side = input_shape[1] - 3"),
            ),
            "layer 2, MaxPool2D",
            id="pool with stride 1",
        ),
        pytest.param(
            (("return x.reshape(len(x), -1)", "return x.reshape(-1, len(x)).T"),),
            "layer 3, Flatten",
            id="images mixed",
        ),
        pytest.param(
            (("x @ self.W + self.b", "x @ self.W - self.b"),), "layer 4, Dense", id="sign of the bias"
        ),
        pytest.param(
            (("np.exp(x - x.max(axis=1, keepdims=True))", "np.exp(x)"),),
            "layer 5, Softmax",
            id="softmax overflows",
        ),
    ],
)
def test_a_wrong_layer_is_caught_and_no_other_one(changes: tuple[tuple[str, str], ...], wrong: str) -> None:
    assert failed(layer_checks_of(changed(*changes))) == {wrong: "fail"}


def test_softmax_over_the_wrong_axis_is_caught() -> None:
    code = changed(("e.sum(axis=1, keepdims=True)", "e.sum(axis=0, keepdims=True)"))
    assert failed(layer_checks_of(code)) == {"rows sum to one": "fail", "layer 5, Softmax": "fail"}


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        (changed(("default_rng(seed)", "default_rng()")), {"same seed, same output": "fail"}),
        (changed(("rng, 8 * side * side, 10)", "rng, 8 * side * side, 12)")), {"output shape": "fail"}),
        (
            changed(
                (", Softmax()]", "]"),
                (
                    "            x = layer.forward(x)\n",
                    "            x = layer.forward(x)\n        x = Softmax().forward(x)\n",
                ),
            ),
            {"layers in turn": "fail", "Softmax": "not found"},
        ),
        (changed(("ReLU(), ", "")), {"ReLU": "not found"}),
        (
            changed(("(), Flatten()", "(), type('Dropout', (ReLU,), {})(), Flatten()")),
            {"layer 3, Dropout": "not checked"},
        ),
        ("x = 1", {"network": "not found"}),
        ("class SimpleCNN:\n    pass", {"network": "fail"}),
        ("class SimpleCNN:\n    def forward(self, x):\n        return x[0]", {"network": "not found"}),
        ("def", {"answer": "fail"}),
    ],
)
def test_what_is_missing_or_does_not_fit_is_said(code: str, wrong: dict[str, str]) -> None:
    assert failed(layer_checks_of(code)) == wrong


def test_right_gradients_pass() -> None:
    checks = check_gradients(run_python(NETWORK, harness=harness("gradients")))
    assert failed(checks) == {}
    assert len(checks) == 14, [
        check.name for check in checks
    ]  # 5 inputs, 4 weights and biases, the same 4 in the step, loss


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        pytest.param(
            ("self.W[:, :, ::-1, ::-1]", "self.W"), {"layer 0 (Conv2D), input"}, id="kernel not turned"
        ),
        pytest.param(
            ("grad.sum((0, 2, 3))", "grad.mean((0, 2, 3))"),
            {"layer 0 (Conv2D), b", "training step, layer 0 (Conv2D), b"},
            id="mean for sum",
        ),
        pytest.param(
            ("grad * (self.x > 0)", "grad"),
            {
                "layer 1 (ReLU), input",
                "training step, layer 0 (Conv2D), W",
                "training step, layer 0 (Conv2D), b",
            },
            id="ReLU left out",
        ),
        pytest.param(
            ("        grad /= len(x)\n", ""),
            {f"training step, layer {n}, {p}" for n in ("0 (Conv2D)", "4 (Dense)") for p in "Wb"},
            id="sum for mean",
        ),
        pytest.param(("labels]).mean()", "labels]).sum()"), {"training step, loss"}, id="loss"),
        pytest.param(
            ("self.x.T @ grad, ", "(self.x.T @ grad).T, "),
            {"layer 4 (Dense), W", "training step"},
            id="shape",
        ),
        pytest.param(("def train_step", "def step"), {"training step"}, id="no train_step"),
    ],
)
def test_a_wrong_gradient_is_caught(change: tuple[str, str], wrong: set[str]) -> None:
    assert failed(
        check_gradients(run_python(changed(change), harness=harness("gradients")))
    ) == dict.fromkeys(wrong, "fail")


ONLY_28 = ("seed=0, input_shape=(1, 28, 28)):\n", "seed=0):\n        input_shape = (1, 28, 28)\n")


@pytest.mark.parametrize(
    ("code", "epochs", "wanted"), [(NETWORK, 6, 0.9), (changed(ONLY_28), 2, 0.8)], ids=["8 x 8", "28 x 28"]
)
def test_a_network_learns_the_digits(code: str, epochs: int, wanted: float) -> None:
    lines: list[str] = []
    probe = harness("training", epochs=epochs, learning_rate=0.3)
    run = run_python(code, harness=probe, files={"digits.npz": digits()}, timeout=60, on_output=lines.append)
    check = check_training(run, wanted)
    assert check.verdict == "pass", check
    assert "".join(lines).count("epoch ") == epochs
    assert run.arrays["predicted"].shape == run.arrays["labels"].shape == (450,)
    assert check_training(run, wanted=1.01).verdict == "fail"


def test_a_network_that_cannot_learn_fails_the_training_check() -> None:
    code = changed(("layer.W -= learning_rate", "layer.W -= 0 * learning_rate"))
    run = run_python(code, harness=harness("training", epochs=1), files={"digits.npz": digits()})
    assert check_training(run).verdict == "fail"
