"""Answers and tables in a notebook."""

from IPython.display import Markdown


def show(text: str) -> Markdown:
    """`text` as Markdown whose dollar signs stay dollar signs: Jupyter takes $...$ for a formula."""
    return Markdown(text.replace("$", "\\$"))  # type: ignore[no-untyped-call]
