"""Known failures of AWS calls as one short message: what happened, and what to do next."""

import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from helpers.errors import WorkshopError
from helpers.explain.known import Failure, failure_of, is_cell, raised_in_cell, words_for

__all__ = ["CallFailed", "Failure", "explain", "show_in_notebook"]


class CallFailed(WorkshopError):
    """A call to AWS failed for a known reason; `__cause__` is the original error."""


def explain(error: BaseException) -> CallFailed | None:
    """`error`, or what it was raised from, in words for a learner; None if it is not known here."""
    if isinstance(error, WorkshopError):
        return None  # it speaks for itself
    for link in _chain(error):
        words = words_for(failure_of(link))
        if words:
            told = CallFailed(words)
            told.__cause__ = error
            return told
    return None


def show_in_notebook() -> None:
    """From now on a cell shows `CallFailed` in place of the traceback of a known failure; `%tb` shows it all."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((Exception,), _show)


def _show(shell: Any, kind: type, error: BaseException, trace: TracebackType, tb_offset: Any = None) -> None:
    told = explain(error)
    if told is None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
        return
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace  # for %tb and %debug
    cell = next((frame for frame in traceback.extract_tb(trace) if is_cell(frame.filename)), None)
    place = f"In line {cell.lineno} of the cell: {cell.line}\n" if cell else ""
    lines = [f"{type(told).__name__}: {told}", f"{place}(%tb shows the whole traceback.)"]
    shell._showtraceback(type(told), told, lines)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        # Libraries wrap errors with or without `from`; an error in a learner's own `except` is another matter.
        implied = not (error.__suppress_context__ or raised_in_cell(error))
        error = error.__cause__ or (error.__context__ if implied else None)
