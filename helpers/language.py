"""What a learner reads, errors too, in the language of the notebook: English in the code, others in locale/."""

from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_language = ""  # "" is English
N_ = str  # marks for the catalog what `say` translates only where it is shown: a key, or words filled in later


def choose(language: str) -> None:
    """From now on `say` speaks `language`: "zh", or "" for English. Figures get a font that has its letters."""
    global _language
    _language = language
    if language:
        _use_font(ROOT / "data" / "fonts" / "WorkshopSansSC-Regular.ttf")


def chosen() -> str:
    """The language of the notebook: "zh", or "" for English."""
    return _language


def say(text: str, /, **parts: object) -> str:
    """`text` in the language of the notebook, its {parts} filled in; English where there is no translation."""
    text = _catalog(_language).get(text, text) if _language else text
    return text.format(**parts) if parts else text


@cache
def _catalog(language: str) -> dict[str, str]:
    """English to `language`, from locale/<language>/helpers.po; what is marked fuzzy is stale, and left out."""
    from babel.messages.pofile import read_po

    with (ROOT / "locale" / language / "helpers.po").open("rb") as file:
        return {str(each.id): str(each.string) for each in read_po(file) if each.id and each.string and not each.fuzzy}


def _use_font(font: Path) -> None:
    from matplotlib import font_manager, rcParams

    if str(font) not in {each.fname for each in font_manager.fontManager.ttflist}:
        font_manager.fontManager.addfont(font)
    rcParams["font.family"] = ["DejaVu Sans", "Workshop Sans SC"]  # the second has what the first lacks


class WorkshopError(RuntimeError):
    """A problem the learner can solve; the message says what is wrong and what to do next."""

    def __init__(self, text: str, /, **parts: object) -> None:
        """`text` is said in the language of the notebook, its {parts} filled in."""
        super().__init__(say(text, **parts))

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython shows instead of a traceback (IPython's own hook for exceptions)."""
        return [f"{type(self).__name__}: {self}"]
