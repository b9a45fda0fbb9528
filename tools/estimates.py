"""Token counts where nobody counted: rough, and marked as estimates wherever they are shown."""

from itertools import accumulate
from pathlib import Path

from PIL import Image

# English prose has about 4 characters a token and code about 3; a Chinese character is about one token.
CHARACTERS_A_TOKEN = 3.5
PIXELS_A_TOKEN = 750  # https://docs.anthropic.com/en/docs/build-with-claude/vision
LONG_SIDE = 1568  # pixels; larger pictures are scaled down before they are read


def _weight(character: str) -> float:
    return 1 / CHARACTERS_A_TOKEN if character.isascii() else 1.0


def text_tokens(text: str) -> int:
    """Estimated number of tokens of `text`."""
    return round(sum(map(_weight, text)))


def cut(text: str, tokens: int) -> str:
    """The beginning of `text` that is estimated at `tokens` tokens."""
    return text[: sum(total <= tokens for total in accumulate(map(_weight, text)))]


def image_tokens(path: Path) -> int:
    """Estimated number of tokens of a picture."""
    width, height = Image.open(path).size
    scale = min(1.0, LONG_SIDE / max(width, height))
    return round(width * height * scale * scale / PIXELS_A_TOKEN)
