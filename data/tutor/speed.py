"""How long the first convolution takes, with 32 filters of 3 x 3, and SciPy's. Runs after the model's code."""

from timeit import timeit

import numpy as np
from scipy.signal import correlate2d


def speed(answer, results):
    """Put the sizes of the batches and the seconds, the answer's and SciPy's, into results."""
    layer, sizes = answer.SimpleCNN(seed=0).layers[0], [1, 2, 5, 10]
    layer.W, layer.b = np.random.default_rng(0).standard_normal((32, 1, 3, 3)), np.zeros(32)

    def scipy(images):
        return [[correlate2d(image[0], kernel[0], "same") for kernel in layer.W] for image in images]

    batches = [np.random.default_rng(0).standard_normal((size, 1, 28, 28)) for size in sizes]
    for name, forward in (("seconds", layer.forward), ("scipy_seconds", scipy)):
        results[name] = [timeit(lambda x=x, forward=forward: forward(x), number=1) for x in batches]
    results["sizes"] = sizes
