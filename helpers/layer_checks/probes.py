"""Probes that run inside the sandbox after a model's code: they call its layers and hand arrays back.

`helpers.layer_checks` judges the arrays in the notebook's own process. `answer` is the module the code made,
`results` the dict that goes back. A probe that cannot do its work leaves one sentence in results["error"].
"""

import re
import timeit
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SAMPLES = 12  # finite differences per array


def probe_layers(answer: ModuleType, results: dict[str, Any]) -> None:
    """Run the network on ten random images, and each layer on random input with random weights and biases."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((10, 1, 28, 28))
    try:
        network, again, random = (_network(answer) for _ in range(3))
        images, output = _in_its_layout(network, images)
        results["output"] = np.asarray(output, float)
        results["again"] = np.asarray(again.forward(images.copy()), float)
        layers, values = _layers(network), [images]
        for layer in layers:
            values.append(np.asarray(_forward(layer)(values[-1].copy()), float))
        results["stepwise"] = values[-1]
    except Exception as error:
        results["error"] = _sentence(error)
        return
    for number, layer in enumerate(_layers(random)):
        shape = values[number].shape
        results[f"{number}.name"] = type(layer).__name__
        results[f"{number}.input_shape"], results[f"{number}.output_shape"] = shape, values[number + 1].shape
        parameters = _parameters(layer)
        learned = [parameters[name] for name in "Wb" if name in parameters] or parameters.values()
        results[f"{number}.parameters"] = sum(array.size for array in learned)
        for name, array in parameters.items():
            array[...] = rng.standard_normal(array.shape)  # zero biases would hide a bias that is not used
            results[f"{number}.parameter.{name}"] = array.copy()
        for name in ("padding", "pad", "stride"):
            if isinstance(setting := getattr(layer, name, None), (int, str)):
                results[f"{number}.setting.{name}"] = setting
        try:
            probe = rng.standard_normal((2, *shape[1:]) if shape[0] == len(images) else shape)
            if "softmax" in type(layer).__name__.lower():
                probe[0] += 1000.0  # exp(1000) overflows unless the largest value is subtracted first
            results[f"{number}.input"] = probe
            with np.errstate(all="ignore"):
                results[f"{number}.output"] = np.asarray(_forward(layer)(probe.copy()), float)
        except Exception as error:
            results[f"{number}.error"] = _sentence(error)


def probe_gradients(answer: ModuleType, results: dict[str, Any]) -> None:
    """Hand back each layer's backward pass, and a whole training step, next to central finite differences."""
    rng = np.random.default_rng(0)
    try:
        network = _network(answer)
        images = rng.standard_normal((2, 1, 28, 28))
        layers, value, shapes = _layers(network), images, []
        for layer in layers:
            shapes.append(value.shape)
            value = _forward(layer)(value)
    except Exception as error:
        results["error"] = _sentence(error)
        return
    for number, (layer, shape) in enumerate(zip(layers, shapes, strict=True)):
        results[f"{number}.name"] = type(layer).__name__
        if "softmax" in type(layer).__name__.lower():
            continue  # often joined with the loss: the training step below covers it
        try:
            # Distinct values far from zero: neither a maximum nor a ReLU changes sides within a step.
            probe = rng.permutation(np.linspace(-1.0, 1.0, int(np.prod(shape)))).reshape(shape)
            probe += np.where(probe < 0, -0.1, 0.1)
            weight = rng.standard_normal(_forward(layer)(probe).shape)
            inward = np.asarray(layer.backward(weight))
            named = {"input": (probe, inward)}
            for name in (
                "Wb" if re.search("(?i)conv|dense|linear|affine|fc|full", type(layer).__name__) else ""
            ):
                named[name] = (getattr(layer, name), np.asarray(getattr(layer, f"d{name}")))

            def loss(layer: Any = layer, probe: Array = probe, weight: Array = weight) -> float:
                return float(np.sum(weight * _forward(layer)(probe)))

            for name, (array, gradient) in named.items():
                _compare(results, f"{number}.{name}", array, gradient.copy(), loss, [1e-5], rng)
        except Exception as error:
            results[f"{number}.error"] = _sentence(error)
    try:
        labels = np.array([3, 7])

        def cross_entropy() -> float:
            return float(-np.mean(np.log(network.forward(images)[[0, 1], labels])))

        before = [
            (layer, name, getattr(layer, name).copy())
            for layer in layers
            for name in "Wb"
            if hasattr(layer, name)
        ]
        results["loss.expected"] = cross_entropy()
        results["loss.returned"] = float(network.train_step(images.copy(), labels, 1.0))
        gradients = [array - getattr(layer, name) for layer, name, array in before]
        for layer, name, array in before:
            getattr(layer, name)[...] = array
        for (layer, name, _), gradient in zip(before, gradients, strict=True):
            key = f"step.{layers.index(layer)}.{name}"
            # A small step rarely meets a kink of ReLU or maximum, a larger one rounds less: the best counts.
            _compare(results, key, getattr(layer, name), gradient, cross_entropy, [1e-5, 1e-6, 1e-7], rng)
    except Exception as error:
        results["step.error"] = _sentence(error)


def probe_training(
    answer: ModuleType,
    results: dict[str, Any],
    epochs: int = 10,
    learning_rate: float = 0.1,
    batch_size: int = 32,
) -> None:
    """Train on `layer_checks.digits`, print a line per epoch, hand back losses, accuracies, predictions."""
    with np.load("digits.npz") as digits:
        train, labels, test, wanted = (
            digits[name] for name in ("train", "train_labels", "test", "test_labels")
        )
    try:
        try:
            network = answer.SimpleCNN(seed=0, input_shape=train.shape[1:])
            network.forward(train[:1])
        except Exception:  # it wants 28 x 28: three times as large, with a border of two
            train, test = (
                np.pad(np.kron(x, np.ones((3, 3))), ((0, 0), (0, 0), (2, 2), (2, 2))) for x in (train, test)
            )
            network = _network(answer)
        rng, losses, accuracies, predicted = np.random.default_rng(0), [], [], np.empty(0, int)
        for epoch in range(1, epochs + 1):
            # Batches of nearly the same size: a last one of three images would make a wild step.
            batches = np.array_split(rng.permutation(len(train)), len(train) // batch_size)
            steps = [
                float(network.train_step(train[batch], labels[batch], learning_rate)) for batch in batches
            ]
            predicted = np.concatenate([network.forward(part).argmax(1) for part in np.array_split(test, 9)])
            losses.append(np.mean(steps))
            accuracies.append(np.mean(predicted == wanted))
            print(
                f"epoch {epoch}/{epochs} loss {losses[-1]:.4f} test accuracy {accuracies[-1]:.3f}", flush=True
            )
        results.update(losses=losses, accuracies=accuracies, predicted=predicted, labels=wanted)
    except Exception as error:
        results["error"] = _sentence(error)


def probe_speed(answer: ModuleType, results: dict[str, Any], filters: int = 32, repeats: int = 3) -> None:
    """Time the first convolution, with 3 x 3 filters, and SciPy's, on batches of 28 x 28 images, in seconds."""
    from scipy.signal import correlate2d

    rng, sizes = np.random.default_rng(0), [1, 2, 5, 10]
    try:
        layer = _layers(_network(answer))[0]
        layer.W, layer.b = rng.standard_normal((filters, 1, 3, 3)), np.zeros(filters)
        answer_seconds, scipy_seconds = [], []
        for size in sizes:
            images = rng.standard_normal((size, 1, 28, 28))

            def reference(images: Array = images) -> None:
                for image in images:
                    for kernel in layer.W:
                        correlate2d(image[0], kernel[0], "same")

            def convolution(images: Array = images) -> None:
                layer.forward(images)

            answer_seconds.append(min(timeit.repeat(convolution, number=1, repeat=repeats)))
            scipy_seconds.append(min(timeit.repeat(reference, number=1, repeat=repeats)))
        results.update(sizes=sizes, seconds=answer_seconds, scipy_seconds=scipy_seconds)
    except Exception as error:
        results["error"] = _sentence(error)


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _network(answer: ModuleType) -> Any:
    names = [
        name
        for name, value in vars(answer).items()
        if isinstance(value, type) and re.search("(?i)cnn|net", name)
    ]
    if not names:
        raise LookupError("the code has no class SimpleCNN")
    kind = getattr(answer, "SimpleCNN" if "SimpleCNN" in names else names[-1])
    np.random.seed(0)  # for code that draws from the global generator
    try:
        return kind(seed=0)
    except TypeError:
        return kind()


def _in_its_layout(network: Any, images: Array) -> tuple[Array, Any]:
    """Return images as the network takes them, (N, C, H, W), (N, H, W, C) or (N, H, W); its output too."""
    try:
        return images, network.forward(images.copy())
    except Exception as error:
        for other in (np.moveaxis(images, 1, 3), images[:, 0]):
            try:
                return other, network.forward(other.copy())
            except Exception:
                continue
        raise ValueError(f"forward does not take (10, 1, 28, 28): {_sentence(error)}") from error


def _layers(network: Any) -> list[Any]:
    layers = getattr(network, "layers", None) or [
        part for part in vars(network).values() if hasattr(part, "forward")
    ]
    layers = list(layers.values() if isinstance(layers, dict) else layers)
    if not layers:
        raise LookupError("the network has no list `layers`")
    return layers


def _forward(layer: Any) -> Callable[[Array], Array]:
    forward: Callable[[Array], Array] = getattr(layer, "forward", layer)
    return forward


def _parameters(layer: Any) -> dict[str, Array]:
    """Return the arrays of real numbers a layer holds as attributes, or one dict deep, by name."""
    attributes = dict(vars(layer)) if hasattr(layer, "__dict__") else {}
    for value in list(attributes.values()):
        attributes.update(value if isinstance(value, dict) else {})
    return {
        str(name): value
        for name, value in attributes.items()
        if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind == "f"
    }


def _compare(
    results: dict[str, Any],
    key: str,
    array: Array,
    gradient: Array,
    loss: Callable[[], float],
    steps: Iterable[float],
    rng: np.random.Generator,
) -> None:
    """Hand back the gradient at random places, and its finite differences there, one row per step size."""
    if gradient.shape != array.shape:
        results[f"{key}.error"] = f"its gradient has the shape {gradient.shape}, not {array.shape}"
        return
    places = rng.choice(array.size, min(SAMPLES, array.size), replace=False)
    rows = []
    for step in steps:
        row = []
        for place in zip(*np.unravel_index(places, array.shape), strict=True):
            kept = array[place]
            array[place] = kept + step
            above = loss()
            array[place] = kept - step
            row.append((above - loss()) / (2 * step))
            array[place] = kept
        rows.append(row)
    results[f"{key}.gradient"] = gradient.reshape(-1)[places]
    results[f"{key}.differences"] = rows
