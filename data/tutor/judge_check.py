"""The judge of lesson 02's exercise 3: does a check of average pooling let the right layers pass, and no others?

Runs in the sandbox, after the model's code and the learner's check.
"""

from types import SimpleNamespace

import numpy as np


def windows(x):
    """Return the windows of 2 x 2 numbers, on two axes of their own; an odd last row or column is dropped."""
    n, c, h, w = x.shape
    return x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2)


def mean(x):
    return windows(x).mean(axis=(3, 5))


WRONG = {
    "the maximum": lambda x: windows(x).max(axis=(3, 5)),
    "the sum": lambda x: windows(x).sum(axis=(3, 5)),
    "the median": lambda x: np.median(windows(x), axis=(3, 5)),
    "one corner": lambda x: windows(x)[:, :, :, 0, :, 0],
    "always zero": lambda x: 0 * mean(x),
    "channels mixed": lambda x: 0 * mean(x) + mean(x).mean(axis=1, keepdims=True),
    "the first image only": lambda x: 0 * mean(x) + mean(x)[:1],
    "upside down": lambda x: mean(x)[:, :, ::-1],
}


def judge_check(answer, results, check):
    """Put the wrong layers that the check lets pass, and whether it lets the right one and the model's pass."""
    passes = {name: bool(check(SimpleNamespace(forward=layer))) for name, layer in WRONG.items()}
    results["missed"] = [name for name, passed in passes.items() if passed]
    results["right"] = [bool(check(SimpleNamespace(forward=mean))), bool(check(answer.AvgPool2D()))]
