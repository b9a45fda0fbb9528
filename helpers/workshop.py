"""The set-up of a notebook: who answers, and how answers and errors are shown."""

import base64
import html
import re
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import boto3
from IPython import get_ipython
from IPython.display import Markdown, display

from helpers import clients, explain, language, replay
from helpers.language import WorkshopError, say
from helpers.settings import settings

__all__ = ["WorkshopError", "bars", "figure", "show", "start"]  # what a notebook takes from here
_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)


def start(name: str, variant: str = "") -> None:
    """Choose who answers notebook `name`, show failures of AWS in a few words, and say so in one line.

    A lesson whose calls depend on a setting has one recording for each `variant` of it. "zh/" before the name is the
    Chinese edition: its words, its documents, its recordings.
    """
    language.choose(name.rpartition("/")[0])
    settings.cache_clear()  # .env may have been corrected, and each edition has its own documents
    mode = MODES[settings().mode](f"{name}.{variant}" if variant else name)
    replay.choose(mode)
    boto3.DEFAULT_SESSION = None  # a plain boto3.client(...) of the next cell does not ask who answered before
    if mode.offline:  # live, a region may still be missing
        clients.session()
    if (shell := get_ipython()) is not None:
        shell.set_custom_exc((Exception,), explain.show)
    print(mode)


def _server(name: str) -> replay.Live:
    from helpers.server import Server  # only here: the other modes load nothing of it

    return Server(name)


Mode = Callable[[str], replay.Live]  # by the name of a notebook
MODES: dict[str, Mode] = {"replay": replay.Replay, "server": _server, "live": lambda name: replay.Live()}


def show(text: str) -> Markdown:
    """`text` as Markdown whose dollar signs stay dollar signs, where Jupyter takes $...$ for a formula.

    An entity hides them from the Markdown renderer, an element around it from MathJax; code is left as it is.
    """
    parts = _CODE.split(text)
    parts[::2] = [part.replace("$", "<span>&#36;</span>") for part in parts[::2]]
    return Markdown("".join(parts))  # type: ignore[no-untyped-call]


def figure(alt: str, image: Any = None, form: str = "png") -> None:
    """Show a Pillow `image`, or else matplotlib's open figure; `alt` says what it shows to who cannot see it.

    As HTML: JupyterLab gives no other picture an alternative text.
    """
    coded = BytesIO()
    if image is None:
        import matplotlib.pyplot as plt

        plt.savefig(coded, bbox_inches="tight")
        plt.close()
    else:
        image.save(coded, form)
    source = base64.b64encode(coded.getvalue()).decode()
    tag = f'<img alt="{html.escape(alt)}" src="data:image/{form};base64,{source}">'
    display({"text/html": tag, "text/plain": alt}, raw=True)  # type: ignore[no-untyped-call]


def bars(labels: Sequence[str], values: Sequence[float], scale: str, title: str) -> None:
    """A chart of horizontal bars, the first on top, for `values` from 0 to 1; `scale` says what they are."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(8, 0.8 + 0.36 * len(labels)), layout="constrained")
    axes.bar_label(axes.barh(range(len(labels)), values, color="#0072B2"), fmt="%.2f", padding=3)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set(xlabel=scale, xlim=(0, 1.1), title=title)
    told = "; ".join(f"{label}: {value:.2f}" for label, value in zip(labels, values, strict=True))
    figure(say("Bar chart. {title}. {scale}: {told}.", title=title, scale=scale, told=told))
