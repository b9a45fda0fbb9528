"""Checks of lesson 02: each layer of a model's network against a reference that somebody else wrote.

The lesson sends this file into the sandbox, where it runs after the model's code. The prompt fixes the names.
"""

import numpy as np
from scipy.signal import correlate2d
from scipy.special import softmax

IMAGES = (3, 1, 28, 28)  # three: no other axis has this length, so none can be taken for another


def valid(channel, kernel):
    return correlate2d(channel, kernel, "valid")


def convolution(x, layer, y):
    """SciPy's correlation of each channel with its kernel, added up, plus the bias; zeros around the image."""
    padding, stride = getattr(layer, "padding", None), getattr(layer, "stride", 1)
    if not isinstance(padding, int):  # not declared: what the size of the output says
        padding = max(0, (y.shape[2] - x.shape[2] + layer.W.shape[2] - 1) // 2)
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    maps = [[sum(map(valid, image, kernels)) for kernels in layer.W] for image in x]
    return np.array(maps)[:, :, ::stride, ::stride] + layer.b.reshape(-1, 1, 1)


def pooling(x, layer, y):
    """The largest number of each 2 x 2 square; an odd last row or column is dropped."""
    n, c, h, w = x.shape
    return x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))


REFERENCES = {
    "Conv2D": convolution,
    "ReLU": lambda x, layer, y: np.maximum(x, 0),
    "MaxPool2D": pooling,
    "Flatten": lambda x, layer, y: x.reshape(len(x), -1),
    "Dense": lambda x, layer, y: x @ layer.W + layer.b,
    "Softmax": lambda x, layer, y: softmax(x, axis=1),
}


def judge(layer, x):
    """Return the layer's output (None if there is none), and "pass" or what is wrong."""
    kind = type(layer).__name__
    for name in ("forward", "W", "b") if kind in ("Conv2D", "Dense") else ("forward",):
        if not hasattr(layer, name):
            return None, f"it has no `{name}`, which the prompt asks for"
    try:
        y = np.asarray(layer.forward(x.copy()), float)
        expected = REFERENCES[kind](x, layer, y) if kind in REFERENCES else None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    if expected is None:
        return y, "not checked: there is no reference for this kind of layer"
    if y.shape != expected.shape:
        return y, f"the output has the shape {y.shape}, the reference {expected.shape}"
    return y, "pass" if np.allclose(y, expected) else f"differs by up to {np.abs(y - expected).max():.1e}"


def check_network(answer, results):
    """Return the checks of the network as a whole."""
    images = np.random.default_rng(0).standard_normal(IMAGES)
    network, twin = answer.SimpleCNN(seed=0), answer.SimpleCNN(seed=0)
    results["output"] = output = np.asarray(network.forward(images.copy()), float)
    same, x = np.array_equal(output, twin.forward(images.copy())), images
    for layer in network.layers:
        x = layer.forward(x)
    return [
        ("output shape", "pass" if output.shape == (3, 10) else f"{output.shape}, not (3, 10)"),
        ("rows sum to one", "pass" if np.allclose(output.sum(axis=-1), 1) else "they do not"),
        ("same seed, same output", "pass" if same else "two networks made alike differ"),
        ("layers in turn", "pass" if np.allclose(x, output) else "`layers` do not give what forward(x) gives"),
    ]


def check_layers(answer, results):
    """Put rows into results["checks"]: name, shapes in and out, number of parameters, verdict."""
    results["checks"] = rows = []
    layers = ()
    try:
        layers = answer.SimpleCNN(seed=0).layers
        rows += [(name, "", "", "", verdict) for name, verdict in check_network(answer, results)]
    except Exception as error:
        missing = isinstance(error, AttributeError)
        what = f"{error}: the prompt asks for it" if missing else f"{type(error).__name__}: {error}"
        rows.append(("network", "", "", "", what))
        if not layers:
            return
    rng, shape = np.random.default_rng(0), IMAGES
    for number, layer in enumerate(layers):
        arrays = [getattr(layer, name) for name in ("W", "b") if hasattr(layer, name)]
        for array in arrays:
            array[...] = rng.standard_normal(array.shape)  # biases of zero would hide one that is not used
        x = rng.standard_normal(shape)
        if type(layer).__name__ == "Softmax":
            x[::2] *= 1000  # exp(1000) overflows unless the largest of the row is subtracted first
        y, verdict = judge(layer, x)
        shapes = (str(shape), "" if y is None else str(y.shape))
        parameters = f"{sum(array.size for array in arrays):,}"
        rows.append((f"layer {number}, {type(layer).__name__}", *shapes, parameters, verdict))
        if y is None:
            break
        shape = y.shape
    kinds = {type(layer).__name__ for layer in layers}
    rows += [(kind, "", "", "", "`layers` holds none of them") for kind in REFERENCES if kind not in kinds]
