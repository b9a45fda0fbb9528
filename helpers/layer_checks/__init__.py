"""Check layers that a model wrote against independent references, and gradients against finite differences.

The model is asked for this interface: NumPy arrays of shape (N, C, H, W); classes Conv2D, ReLU, MaxPool2D,
Flatten, Dense and Softmax with forward(x); weights `W` and bias `b`; SimpleCNN(seed=0) with the list `layers`
and forward(x). The layer checks also read other attribute names, channels-last arrays and other orders of the
weights' axes. What they cannot read is "not found", never a pass.
"""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate2d
from scipy.special import softmax

from helpers.sandbox import Run

Array = NDArray[Any]
Results = Mapping[str, Array]
TOLERANCE = 1e-5  # of the largest value: far above float32 rounding, far below any real mistake
GRADIENT_TOLERANCE = 1e-5
_KINDS = {
    "Conv2D": "conv",
    "ReLU": "relu",
    "MaxPool2D": "pool",
    "Flatten": "flatten",
    "Dense": "dense|linear|affine|fully|^fc",
    "Softmax": "softmax",
}


@dataclass(frozen=True)
class Check:
    """What was checked, the verdict, the largest difference (or relative error; NaN if none), and why."""

    name: str
    verdict: Literal["pass", "fail", "not found", "not checked"]
    difference: float
    detail: str

    def __str__(self) -> str:
        number = "" if np.isnan(self.difference) else f" {self.difference:.1e}"
        return f"{self.verdict}{number} | {self.name}: {self.detail}"


@dataclass(frozen=True)
class Layer:
    """A layer as the code really ran it: class, shapes of input and output, number of parameters."""

    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int


def harness(probe: Literal["layers", "gradients", "training", "speed"], **options: float) -> str:
    """Return a probe's text for `sandbox.run_python(code, harness=...)`; options as in `probes`."""
    source = Path(__file__).with_name("probes.py").read_text(encoding="utf-8")
    return f"{source}\n\nprobe_{probe}(answer, results, **{options!r})\n"


def digits() -> bytes:
    """Return scikit-learn's digits as digits.npz: images (N, 1, 8, 8) in 0..1; a quarter for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    train, test, train_labels, test_labels = train_test_split(
        data.images[:, None] / 16.0, data.target, test_size=0.25, stratify=data.target, random_state=0
    )
    file = io.BytesIO()
    np.savez_compressed(file, train=train, test=test, train_labels=train_labels, test_labels=test_labels)
    return file.getvalue()


def layers(run: Run) -> list[Layer]:
    """Return the network's layers from a run with harness("layers"); empty if it did not get that far."""
    shapes = [
        {key: value.tolist() for key, value in _part(run.arrays, n).items()} for n in _numbers(run.arrays)
    ]
    return [
        Layer(str(one["name"]), tuple(one["input_shape"]), tuple(one["output_shape"]), int(one["parameters"]))
        for one in shapes
        if "output_shape" in one
    ]


def check_layers(run: Run) -> list[Check]:
    """Judge a run with harness("layers"): the network as a whole, then each layer against its reference."""
    if problem := _problem(run):
        return [problem]
    checks, seen = _check_network(run.arrays), set()
    for number in _numbers(run.arrays):
        part = _part(run.arrays, number)
        name = str(part["name"]).lower()
        kind = next((kind for kind, words in _KINDS.items() if re.search(words, name)), None)
        seen.add(kind)
        checks.append(_check_layer(f"layer {number}, {part['name']}", kind, part))
    for kind in (kind for kind in _KINDS if kind not in seen):
        checks.append(Check(kind, "not found", np.nan, "`layers` holds none: ask for a class of that name."))
    return checks


def check_gradients(run: Run) -> list[Check]:
    """Judge a run with harness("gradients"): |a - n| / (|a| + |n|), in the 2-norm, of each gradient."""
    if problem := _problem(run):
        return [problem]
    checks = []
    for key, value in run.arrays.items():
        words = key.replace("step", "training step").split(".")[:-1]
        words = [f"layer {word} ({run.arrays[f'{word}.name']})" if word.isdigit() else word for word in words]
        name = ", ".join(words)
        if key.endswith("error"):
            checks.append(Check(name, "fail", np.nan, str(value)))
        elif key.endswith(".gradient"):
            numeric = run.arrays[key.replace(".gradient", ".differences")]
            sizes = np.linalg.norm(numeric, axis=1) + np.linalg.norm(value)
            error = float(np.min(np.linalg.norm(numeric - value, axis=1) / np.maximum(sizes, 1e-12)))
            checks.append(_judged(name, error, GRADIENT_TOLERANCE, "against finite differences"))
    if "loss.returned" in run.arrays:
        difference = abs(float(run.arrays["loss.returned"] - run.arrays["loss.expected"]))
        checks.append(_judged("training step, loss", difference, TOLERANCE, "mean cross-entropy before it"))
    return checks


def check_training(run: Run, wanted: float = 0.95) -> Check:
    """Judge a run with harness("training") by its last test accuracy; the difference is what is missing."""
    if problem := _problem(run):
        return problem
    reached = float(run.arrays["accuracies"][-1])
    verdict: Literal["pass", "fail"] = "pass" if reached >= wanted else "fail"
    detail = f"test accuracy {reached:.3f}, wanted {wanted:g}"
    return Check("training", verdict, max(0.0, wanted - reached), detail)


def _problem(run: Run) -> Check | None:
    if not run.arrays:
        return Check("answer", "fail", np.nan, run.sentence)
    if "error" in run.arrays:
        missing = str(run.arrays["error"]).startswith("LookupError: ")
        text = str(run.arrays["error"]).removeprefix("LookupError: ")
        return Check("network", "not found" if missing else "fail", np.nan, text)
    return None


def _numbers(results: Results) -> list[int]:
    return sorted(int(key.partition(".")[0]) for key in results if re.fullmatch(r"\d+\.name", key))


def _part(results: Results, number: int) -> dict[str, Array]:
    return {key.partition(".")[2]: value for key, value in results.items() if key.startswith(f"{number}.")}


def _judged(name: str, difference: float, tolerance: float, detail: str) -> Check:
    return Check(name, "pass" if difference <= tolerance else "fail", difference, detail)  # NaN fails


def _check_network(results: Results) -> list[Check]:
    output = results["output"]
    if output.shape != (10, 10):
        detail = f"{output.shape} for ten images and ten classes, not (10, 10)"
        return [Check("output shape", "fail", np.nan, detail)]
    excess = float(np.max(np.abs(output.sum(axis=1) - 1)))
    again, stepwise = (_distance(results[name], output) for name in ("again", "stepwise"))
    return [
        Check("output shape", "pass", 0.0, "(10, 10)"),
        _judged("rows sum to one", excess, TOLERANCE, "class probabilities"),
        _judged("same seed, same output", again, 0.0, "two networks made alike"),
        _judged("layers in turn", stepwise, TOLERANCE, "`layers` one after the other against forward(x)"),
    ]


def _check_layer(name: str, kind: str | None, part: dict[str, Array]) -> Check:
    if kind is None:
        return Check(name, "not checked", np.nan, "there is no reference for this kind of layer")
    if "output" not in part:
        return Check(name, "fail", np.nan, str(part.get("error", "it was never run")))
    references = list(_REFERENCES[kind](part))
    if not references:
        wanted = "weights W" if kind in ("Conv2D", "Dense") else "an input of a known shape"
        shapes = f"input {part['input'].shape}, output {part['output'].shape}"
        return Check(name, "not found", np.nan, f"no {wanted} that fit {shapes}")
    output, reference = min(references, key=lambda pair: _distance(*pair))
    if output.shape != reference.shape:
        return Check(name, "fail", np.nan, f"output {output.shape}, the reference gives {reference.shape}")
    return _judged(name, _distance(output, reference), TOLERANCE, _ABOUT[kind])


def _distance(output: Array, reference: Array) -> float:
    """Return the largest difference, relative to values above one; infinite for NaN or for other shapes."""
    if output.shape != reference.shape or not np.isfinite(output).all():
        return np.inf
    return float(np.max(np.abs(output - reference)) / max(1.0, float(np.max(np.abs(reference)))))


def _images(array: Array) -> list[Array]:
    """Return an array of images as (N, C, H, W), in each way that it may be meant."""
    if array.ndim == 4:
        return [array, np.moveaxis(array, 3, 1)]
    return [array[:, None]] if array.ndim == 3 else []


def _learned(part: dict[str, Array]) -> list[Array]:
    return [value for key, value in part.items() if key.startswith("parameter.")]


def _biases(part: dict[str, Array], size: int) -> list[Array]:
    return [value.ravel() for value in _learned(part) if value.size == size] or [np.zeros(size)]


def _convolution(part: dict[str, Array]) -> Iterator[tuple[Array, Array]]:
    """Yield output and reference for each fitting reading of the arrays; random values fail a wrong one."""
    orders = [(0, 1, 2, 3), (3, 2, 0, 1), (0, 3, 1, 2)]  # from (O, I, H, W), (H, W, I, O), (O, H, W, I)
    weights = [value.transpose(order) for value in _learned(part) if value.ndim == 4 for order in orders]
    weights += [value[:, None] for value in _learned(part) if value.ndim == 3]
    for x, y, w in product(_images(part["input"]), _images(part["output"]), weights):
        if w.shape != (y.shape[1], x.shape[1], w.shape[2], w.shape[2]) or w.shape[2] > x.shape[2]:
            continue
        stride = int(part.get("setting.stride", np.array(1)))
        for padding in _paddings(part, w.shape[2], valid=y.shape[2] < x.shape[2] // stride):
            padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
            plain = [[sum(map(_valid, image, kernel)) for kernel in w] for image in padded]
            for bias in _biases(part, len(w)):
                yield y, np.array(plain)[:, :, ::stride, ::stride] + bias[:, None, None]


def _valid(image: Array, kernel: Array) -> Array:
    result: Array = correlate2d(image, kernel, "valid")
    return result


def _paddings(part: dict[str, Array], size: int, valid: bool) -> list[int]:
    """Return the padding that the layer declares; else that of "valid" or "same", by its output's size."""
    declared = part.get("setting.padding", part.get("setting.pad"))
    if declared is not None and declared.dtype.kind == "i":
        return [int(declared)]
    if declared is not None and str(declared).lower() in ("same", "valid"):
        valid = str(declared).lower() == "valid"
    return [0 if valid else (size - 1) // 2]


def _pooling(part: dict[str, Array]) -> Iterator[tuple[Array, Array]]:
    """Yield output and the plain 2 x 2 maximum with stride 2; an odd last row or column is dropped."""
    for x, y in zip(_images(part["input"]), _images(part["output"]), strict=False):
        rows, columns = x.shape[2] // 2, x.shape[3] // 2
        even = x[:, :, : 2 * rows, : 2 * columns]
        yield y, even.reshape(*x.shape[:2], rows, 2, columns, 2).max(axis=(3, 5))


def _dense(part: dict[str, Array]) -> Iterator[tuple[Array, Array]]:
    x, y = part["input"], part["output"]
    weights = [w for value in _learned(part) if value.ndim == 2 for w in (value, value.T)]
    for w, bias in product(weights, _biases(part, y.shape[-1])):
        if w.shape == (x.shape[-1], y.shape[-1]):
            yield y, x @ w + bias


def _rectifier(part: dict[str, Array]) -> Iterator[tuple[Array, Array]]:
    yield part["output"], np.maximum(part["input"], 0.0)


def _flattened(part: dict[str, Array]) -> Iterator[tuple[Array, Array]]:
    yield part["output"], part["input"].reshape(len(part["input"]), -1)


def _probabilities(part: dict[str, Array]) -> Iterator[tuple[Array, Array]]:
    yield part["output"], softmax(part["input"], axis=-1)


_REFERENCES = {
    "Conv2D": _convolution,
    "ReLU": _rectifier,
    "MaxPool2D": _pooling,
    "Flatten": _flattened,
    "Dense": _dense,
    "Softmax": _probabilities,
}
_ABOUT = {
    "Conv2D": "scipy.signal.correlate2d plus bias",
    "ReLU": "max(x, 0)",
    "MaxPool2D": "the maximum of each 2 x 2 square",
    "Flatten": "x.reshape(N, -1)",
    "Dense": "x @ W + b",
    "Softmax": "scipy.special.softmax, also for inputs near 1000",
}
