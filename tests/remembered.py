"""For a kernel that runs lessons: what is slow and gives the same each time is worked out once in a run of the tests.

That it does give the same, nbval shows, which compares every lesson with its stored outputs and remembers nothing.
"""

import functools
import gc
import hashlib
import os
import pickle
import sys
import uuid
from pathlib import Path

from helpers import sandbox
from helpers.replay import chinese, index
from helpers.settings import ROOT

PREAMBLE = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom tests import remembered\nremembered.begin()"


def remembering(function):
    """`function`, which answers from the folder to arguments that it had before, whichever process asked."""

    @functools.wraps(function)
    def answer(*args, **named):
        asked = hashlib.sha256(pickle.dumps((function.__name__, args, named))).hexdigest()
        known = Path(os.environ["TESTS_REMEMBERED"], asked)  # the folder of this run of the tests (conftest.py)
        if not known.exists():
            beside = known.with_suffix(f".{uuid.uuid4()}")
            beside.write_bytes(pickle.dumps(function(*args, **named)))
            beside.replace(known)
        return pickle.loads(known.read_bytes())

    return answer


def begin():
    """Remember from now on, in this process; never in that of the tests, which try the sandbox itself."""
    assert "pytest" not in sys.modules
    gc.disable()  # a tenth of a lesson's time; what lives long here are modules
    chinese._by_meaning = functools.cache(remembering(chinese._by_meaning.__wrapped__))
    index._built = functools.cache(remembering(index._built.__wrapped__))
    sandbox.run = remembering(sandbox.run)  # a model's program
