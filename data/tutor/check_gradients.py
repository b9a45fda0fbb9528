"""Checks of lesson 02: gradients against central differences along a random direction.

The lesson sends this file into the sandbox, where it runs after the model's code. The prompt fixes the names.
"""

import numpy as np


def slope(loss, array, direction, step):
    """Return how the loss changes when the array moves along the direction: (f(a + hd) - f(a - hd)) / 2h."""
    kept = array.copy()
    array[...] = kept + step * direction
    above = loss()
    array[...] = kept - step * direction
    below = loss()
    array[...] = kept
    return (above - below) / (2 * step)


def error_of(loss, array, gradient, rng):
    """Return the relative error of a gradient; a second, smaller step, for the first may meet a kink of ReLU."""
    if np.shape(gradient) != array.shape:
        return f"its gradient has the shape {np.shape(gradient)}, not {array.shape}"
    direction = rng.standard_normal(array.shape)
    claimed, slopes = np.sum(gradient * direction), (slope(loss, array, direction, h) for h in (1e-5, 1e-6))
    return min(abs(found - claimed) / max(abs(found) + abs(claimed), 1e-12) for found in slopes)


def of_layer(layer, shape, rng):
    """Return the errors of a layer's backward: for its input, and for W and b where it has them."""
    x = rng.permutation(np.linspace(-1, 1, int(np.prod(shape)))).reshape(shape)  # no two numbers are equal
    weight = rng.standard_normal(layer.forward(x).shape)
    pairs = {"input": (x, layer.backward(weight))}
    if hasattr(layer, "W"):
        pairs |= {"W": (layer.W, layer.dW.copy()), "b": (layer.b, layer.db.copy())}
    return {
        name: error_of(lambda: np.sum(weight * layer.forward(x)), array, gradient, rng)
        for name, (array, gradient) in pairs.items()
    }


def of_step(network, rng):
    """Return the errors of a whole training step: how W and b moved, and the loss that it returned."""
    x, labels = rng.standard_normal((2, 1, 28, 28)), np.array([3, 7])

    def loss():
        return -np.mean(np.log(network.forward(x)[[0, 1], labels]))

    learned = {(n, name): layer for n, layer in enumerate(network.layers) for name in "Wb" if hasattr(layer, name)}
    before = {key: getattr(layer, key[1]).copy() for key, layer in learned.items()}
    expected = loss()
    errors = {"loss": abs(network.train_step(x, labels, 1.0) - expected)}
    moved = {key: before[key] - getattr(layer, key[1]) for key, layer in learned.items()}
    for key, layer in learned.items():
        getattr(layer, key[1])[...] = before[key]
    for (n, name), layer in learned.items():
        errors[f"layer {n}, {name}"] = error_of(loss, getattr(layer, name), moved[n, name], rng)
    return errors


def rows_of(name, errors_of, *inputs):
    """Return rows of name, relative error, verdict; one that says what is wrong if there is no gradient."""
    try:
        found = errors_of(*inputs)
    except AttributeError as error:
        found = {"": f"{error}: the prompt asks for it"}
    except Exception as error:
        found = {"": f"{type(error).__name__}: {error}"}
    return [
        (f"{name}, {part}".strip(", "), "", error)
        if isinstance(error, str)
        else (f"{name}, {part}", f"{error:.0e}", "pass" if error < 1e-5 else "differs")
        for part, error in found.items()
    ]


def check_gradients(answer, results):
    """Put the rows of each layer and of a training step into results["checks"]."""
    results["checks"] = rows = []
    rng, x = np.random.default_rng(0), np.zeros((2, 1, 28, 28))
    try:
        network = answer.SimpleCNN(seed=0)
        for number, layer in enumerate(network.layers[:-1]):  # Softmax is part of the training step
            rows += rows_of(f"layer {number}, {type(layer).__name__}", of_layer, layer, x.shape, rng)
            x = layer.forward(x)
    except Exception as error:
        rows.append(("network", "", f"{error}"))
    else:
        rows += rows_of("training step", of_step, network, rng)
