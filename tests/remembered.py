"""For a kernel that runs lessons: what is slow and gives the same each time is worked out once in a run of the tests.

That it does give the same, nbval shows, which compares every lesson with its stored outputs and remembers nothing.
"""

import functools
import os
import sys
import warnings

import cv2
import joblib

from helpers import sandbox
from helpers.replay import chinese, index
from helpers.settings import ROOT

PLACE = "TESTS_REMEMBERED"  # names the folder of this run of the tests (conftest.py); without one nothing is remembered
PREAMBLE = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom tests import remembered\nremembered.begin()"


def begin() -> None:
    """Remember from now on, in this process; never in that of the tests, which try the sandbox itself."""
    assert "pytest" not in sys.modules
    warnings.filterwarnings("ignore", module="joblib")  # that it took long, on a busy machine
    remembering = joblib.Memory(os.environ.get(PLACE), verbose=0).cache
    chinese._by_meaning = functools.cache(remembering(chinese._by_meaning.__wrapped__))
    index._built = functools.cache(remembering(index._built.__wrapped__))
    sandbox.run = remembering(sandbox.run)  # a model's program
    cv2.findTransformECC = remembering(cv2.findTransformECC)  # two pictures of a board laid on each other
