"""Can this server answer the lessons? Four short prompts, of which `helpers.checks` makes a row each."""

import io
import json
from collections.abc import Callable
from typing import Any

from PIL import Image

from helpers import clients

Row = tuple[str, str, str]  # as in `helpers.checks`: what was looked at, what was found, what to do
_MODEL = "anthropic.claude"  # the server's own name for its model goes out
_WORD = "juniper"
_FILLER = "The quick brown fox jumps over the lazy dog, and the dog looks on. " * 600  # about 9,000 tokens
_LARGER = "give it a context of 16,384 tokens: OLLAMA_CONTEXT_LENGTH=16384 ollama serve; llama-server -c 16384"


def _ask(*parts: dict[str, Any]) -> tuple[str, int]:
    """The text of the answer, and the tokens of the prompt."""
    turn = {"role": "user", "content": list(parts)}
    limits = {"maxTokens": 300}
    response = clients.client("bedrock-runtime").converse(modelId=_MODEL, messages=[turn], inferenceConfig=limits)
    words = "".join(part.get("text", "") for part in response["output"]["message"]["content"])
    usage = response["usage"]
    return words, usage["inputTokens"] + usage.get("cacheReadInputTokens", 0)


def _answers() -> Row:
    text, _ = _ask({"text": "Answer with the one word ok."})
    return ("answer", f"{text.strip()[:40]!r}", "" if text.strip() else "an empty answer: choose another model")


def _context() -> Row:
    asked = f"The word is {_WORD}. {_FILLER}\nWhich word stands at the beginning? Answer with it alone."
    text, tokens = _ask({"text": asked})
    kept = _WORD in text.lower() or tokens > len(_FILLER) / 6  # a small model may forget what it has read
    return ("context", f"{tokens:,} tokens were read", "" if kept else _LARGER)


def _sees() -> Row:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    image = {"image": {"format": "png", "source": {"bytes": picture.getvalue()}}}
    text, _ = _ask(image, {"text": "Which colour has this picture? One word."})
    to_do = "" if "red" in text.lower() else "lesson 01 needs a model that sees pictures: choose another one"
    return ("pictures", f"a red square is {text.strip()[:40]!r}", to_do)


def _json() -> Row:
    text, _ = _ask({"text": 'Answer with this JSON object and nothing else: {"defects": []}'})
    try:
        json.loads(text[text.index("{") : text.rindex("}") + 1])
    except ValueError:
        return ("JSON", f"{text.strip()[:40]!r}", "lesson 01 asks for JSON: expect repairs, or choose another model")
    return ("JSON", "an object came back", "")


# In the order in which it fails; without an answer the rest is not asked.
CHECKS: dict[str, Callable[[], Row]] = {"answer": _answers, "context": _context, "pictures": _sees, "JSON": _json}
