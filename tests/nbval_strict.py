"""A pytest plugin that makes nbval compare pictures too, with every setting at its default."""

import os

import pytest
from nbval.plugin import IPyNbFile

from tools.notebooks import environment


def pytest_configure(config: pytest.Config) -> None:
    """Before any kernel starts."""
    os.environ.update(environment())


def pytest_collectstart(collector: pytest.Collector) -> None:
    """nbval's own way to choose what is compared."""
    if isinstance(collector, IPyNbFile):
        collector.skip_compare = tuple(key for key in collector.skip_compare if not key.startswith("image/"))
