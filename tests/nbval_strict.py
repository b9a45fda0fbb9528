"""A pytest plugin that makes nbval compare pictures too, with every setting at its default."""

import os
from typing import Any

import pytest
from nbval.plugin import IPyNbFile

from tools.notebooks import environment

_original = IPyNbFile.__init__


def _compare_pictures(self: IPyNbFile, *args: Any, **kwargs: Any) -> None:
    _original(self, *args, **kwargs)
    self.skip_compare = tuple(key for key in self.skip_compare if not key.startswith("image/"))


def pytest_configure(config: pytest.Config) -> None:
    """Before any kernel starts."""
    IPyNbFile.__init__ = _compare_pictures
    os.environ.update(environment())
