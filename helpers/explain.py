"""Known failures of AWS calls as one short message: what happened, and what to do next."""

import re
import sys
import tomllib
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from botocore.exceptions import ClientError

from helpers import replay
from helpers.language import WorkshopError, say
from helpers.models import alias_of
from helpers.settings import ROOT

_CELL = re.compile(r"ipykernel_|^<ipython-input")  # the file of a notebook's own code
WORDS = tomllib.loads((ROOT / "data" / "words" / "failures.toml").read_text(encoding="utf-8"))


class CallFailed(WorkshopError):
    """A call to AWS failed for a known reason; `__cause__` is the original error."""


def explain(error: BaseException) -> CallFailed | None:
    """`error`, or what it was raised from, in words for a learner; None if it is not known here."""
    if isinstance(error, WorkshopError):
        return None  # it speaks for itself
    for link in _chain(error):
        if words := _words_for(link):
            told = CallFailed(words)
            told.__cause__ = error
            return told
    return None


def _words_for(error: BaseException) -> str:
    facts = _facts(error)
    where = f" knowledgeBaseId={facts['knowledge_base']}" if facts["knowledge_base"] else ""
    said, entries = f"{facts['code']}: {facts['text']}{where}", WORDS["refusal"]
    if not facts["code"]:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        place = f"in {''.join(files[-1:])} document: {getattr(error, 'doc', '')}"  # which was to be JSON
        said, entries = f"{type(error).__name__}: {error} {place}", WORDS["error"]
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    for each in entries:
        if names & {*each.get("kinds", [])} or ("if" in each and re.search(each["if"], said, re.IGNORECASE)):
            words: str = each["say"]
            return say(words, **facts)
    return ""


def _facts(error: BaseException) -> dict[str, str]:
    """What `error` and its traceback tell: the service's code and text, and the call that it ended."""
    answer = error.response if isinstance(error, ClientError) else {}
    told, headers = answer.get("Error", {}), answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    text = told.get("Message", str(error))
    action = re.search(r"perform: ([\w:]+)", text)
    code = "OwnServer" if replay.REFUSED in headers else told.get("Code", "")
    found = {"code": code, "text": text, "action": action[1] if action else say("this call")}
    found |= {"model": say("the model"), "alias": "", "region": say("your region"), "knowledge_base": ""}
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_make_api_call":  # botocore's: the one place that knows what was asked
            params = frame.f_locals.get("api_params") or {}
            found["region"] = str(frame.f_locals["self"].meta.region_name)
            found["model"] = str(params.get("modelId", found["model"]))
            found["alias"] = alias_of(found["model"]) if "modelId" in params else ""
            found["knowledge_base"] = str(params.get("knowledgeBaseId", ""))
    return found


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        frames = traceback.extract_tb(error.__traceback__)
        # Libraries wrap errors with or without `from`; an error in a learner's own `except` is another matter.
        own = error.__suppress_context__ or (frames and _CELL.search(frames[-1].filename))
        error = error.__cause__ or (None if own else error.__context__)


def show(shell: Any, kind: type, error: BaseException, trace: TracebackType, tb_offset: Any = None) -> None:
    """IPython's handler of exceptions: `CallFailed` in place of the traceback of a known failure."""
    told = explain(error)
    if told is None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
        return
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace  # for %tb and %debug
    cell = next((frame for frame in traceback.extract_tb(trace) if _CELL.search(frame.filename)), None)
    place = say("In line {line} of the cell: {code}", line=cell.lineno, code=cell.line) + "\n" if cell else ""
    more = say("(%tb shows the whole traceback.)")
    shell._showtraceback(type(told), told, [f"CallFailed: {told}", f"{place}{more}"])
