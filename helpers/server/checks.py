"""Can this server answer the lessons? Four prompts, one of them long, of which `helpers.checks` makes a row each."""

import re
from functools import partial

from PIL import Image

from helpers import clients
from helpers.language import N_, say
from helpers.server import LARGER

_FILLER = "The quick brown fox jumps over the lazy dog, and the dog looks on. " * 600  # about 9,000 tokens
_JSON = N_("lesson 01 asks for JSON: expect repairs, or choose another model")


def _ask(name: str, question: str, wanted: str, to_do: str) -> tuple[str, str]:
    """As in `helpers.checks`: what was found, what to do."""
    square, limits = Image.new("RGB", (64, 64), "red")._repr_png_(), {"maxTokens": 300}
    picture = {"image": {"format": "png", "source": {"bytes": square}}}
    turn = {"role": "user", "content": [picture] * (name == "pictures") + [{"text": question}]}
    response = clients.client("bedrock-runtime").converse(modelId="claude", messages=[turn], inferenceConfig=limits)
    text = "".join(part.get("text", "") for part in response["output"]["message"]["content"]).strip()
    tokens = response["usage"]["totalTokens"] - response["usage"]["outputTokens"]
    is_read = name == "context" and tokens > len(_FILLER) / 6  # a small model may forget what it has read
    is_fine = is_read or re.search(wanted, text, re.DOTALL | re.IGNORECASE)
    return say("{text!r}; {tokens:,} tokens were read", text=text[:40], tokens=tokens), "" if is_fine else say(to_do)


# Name, question, what the answer must hold, what to do else; in the order in which it fails.
_QUESTIONS = (
    (N_("answer"), "Answer with the one word ok.", r"\S", N_("an empty answer: choose another model")),
    (N_("context"), f"The word is juniper. {_FILLER}\nWhich word is it? Answer with it alone.", "juniper", LARGER),
    (N_("pictures"), "Which colour has this picture? One word.", "red", N_("lesson 01 needs a model with eyes")),
    ("JSON", 'Answer with this JSON object, nothing else: {"defects": []}', r'\{\s*"defects":\s*\[.*\]\s*\}', _JSON),
)
CHECKS = {name: partial(_ask, name, *rest) for name, *rest in _QUESTIONS}
