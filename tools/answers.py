"""Recorded answers without an AWS account: write down what a notebook asks, take in what was answered.

    python -m tools.answers ask  NOTEBOOK     run it offline; open requests go to build/asks/NOTEBOOK/<key>/
    python -m tools.answers take NOTEBOOK     add the answers found there to data/recordings/NOTEBOOK.json

CONTRIBUTING.md says who answers, and how. NOTEBOOK may be of the Chinese edition, zh/04_financial_rag.
"""

import hashlib
import json
import re
import shutil
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

from PIL import Image

from helpers import replay
from helpers.replay.index import open_index
from helpers.replay.recording import Recording, RecordingMissing, key, request_of
from helpers.server import messages
from helpers.settings import ROOT, Settings, settings
from tools.notebooks import FOLDER, environment, execute
from tools.recorder import save
from tools.run import line

ASKS = ROOT / "build" / "asks"
RECORDINGS: Path = Settings.model_fields["recordings_dir"].default
API_ANSWERS = ROOT / "tools" / "api_answers"
PENDING = "[answer pending]"
WHOLE = "whole"  # a file beside the requests: the run that asked them met no error
EVERY = "if 'attempt' in globals():\n    for each in TRY:\n        attempt(each)"  # all that a lesson offers
_READABLE = 50  # answers of the index: more are not written down, since every run computes them anyway
_STREAMED = 24  # characters in a piece of a streamed answer; the service sends pieces of about this size
# Token counts where nobody counted: rough, and marked as estimates wherever they are shown.
CHARACTERS_A_TOKEN = 3.5  # English prose has about 4, code about 3; a Chinese character is about one token
PIXELS_A_TOKEN, LONG_SIDE = 750, 1568  # https://docs.anthropic.com/en/docs/build-with-claude/vision


def listen(folder: str) -> None:
    """Called inside the kernel: note every request of this process in `folder`."""
    answer = replay.Replay.answer

    def noting(mode: replay.Replay, call: str, params: dict[str, Any]) -> dict[str, Any]:
        request = {"call": call, "request": request_of(params)}
        here = Path(folder) / hashlib.sha256(key(request).encode()).hexdigest()[:12]
        here.mkdir(parents=True, exist_ok=True)
        (here / "request.json").write_text(json.dumps(request, ensure_ascii=False, indent=1), encoding="utf-8")
        if call == replay.RETRIEVE:  # what the index finds now, not what it found for the last recording
            found = open_index(settings().letters_dir).retrieve(params)
            (here / "index.json").write_text(json.dumps(found), encoding="utf-8")
            return {"origin": "index", "body": {"json": found}}
        try:
            return answer(mode, call, params)
        except RecordingMissing:
            if not call.startswith("bedrock-runtime."):
                raise
            if PENDING not in (here / "request.json").read_text(encoding="utf-8"):
                write_prompt(params, here)
            # The cell goes on with a mark in place of the answer, so that one run finds every open request.
            return {"origin": "none", "body": _body(call, params["modelId"], PENDING, False, {"inputTokens": 0})}

    replay.Replay.answer = noting  # type: ignore[method-assign]


def write_prompt(params: dict[str, Any], folder: Path) -> None:
    """prompt.md of one request to Claude, InvokeModel's or Converse's, and the pictures of Converse's."""
    body = json.loads(params["body"]) if "body" in params else messages.request_of(params)
    turns = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    parts, pictures = [], 0
    for turn in turns + body["messages"]:
        content, lines = turn["content"], [f"# {turn['role'].capitalize()}"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            match block:
                case {"type": "text", "text": text}:
                    lines.append(text)
                case {"type": "image", "source": {"media_type": kind, "data": data}}:
                    pictures += 1
                    name = f"{pictures}.{kind.removeprefix('image/')}"
                    (folder / name).write_bytes(data)
                    lines.append(f"[picture: {name}]")
        parts.append("\n\n".join(lines))
    (folder / "prompt.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def ask(name: str) -> None:
    """Run the lesson, all that it offers to try, and its solutions; list what has no answer yet."""
    folder = ASKS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    preamble = f"from tools import answers; answers.listen({str(folder)!r})"
    path = FOLDER / f"{name}.ipynb"
    worked = path.parent / "solutions" / path.name
    paths = [path] + [worked] * worked.exists()
    outcomes = [execute(each, environment(), preamble=preamble, keep_going=True, ending=EVERY) for each in paths]
    print(*map(line, outcomes), sep="\n")
    for prompt in sorted(folder.glob("*/prompt.md")):
        print(f"  open: {prompt.parent.relative_to(ROOT)}")
    if not any(outcome.error for outcome in outcomes):
        (folder / WHOLE).touch()


def take(name: str) -> None:
    """Add every answer found under build/asks/`name`; after a whole run drop what is asked no more."""
    recording = Recording(RECORDINGS / f"{name}.json")
    kept, seen, cached = {key(entry): entry for entry in recording.entries}, set(), set()
    asked = sorted((ASKS / name).glob("*/request.json"), key=lambda path: path.stat().st_mtime_ns)
    if len(list((ASKS / name).glob("*/index.json"))) > _READABLE:
        asked = [path for path in asked if not path.with_name("index.json").exists()]
        kept = {found: entry for found, entry in kept.items() if entry["origin"] != "index"}
    for path in asked:
        request = json.loads(path.read_text(encoding="utf-8"))
        seen.add(key(request))
        prefix = json.dumps(_before_cache_point(request["request"]))
        entry = _entry(request, path.parent, in_cache=prefix in cached)
        cached.add(prefix)
        if entry and not (name.startswith("zh/") and entry["origin"] != "model"):  # the rest is as in English
            kept[key(entry)] = entry
            print(f"  taken: {entry['call']} ({entry['origin']})")
    answered = all(path.with_name("reply.md").exists() for path in (ASKS / name).glob("*/prompt.md"))
    if answered and (ASKS / name / WHOLE).exists():
        kept = {found: entry for found, entry in kept.items() if found in seen}
    recording.entries = list(kept.values())
    save(recording, recording.path)


def _before_cache_point(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The content blocks of the first message up to its cache point; none without one."""
    blocks = request.get("messages", [{}])[0].get("content", [])
    places = [number for number, block in enumerate(blocks) if "cachePoint" in block]
    return blocks[: places[-1]] if places else []


def _entry(request: dict[str, Any], folder: Path, in_cache: bool) -> dict[str, Any] | None:
    """The answer to a request that was noted in `folder`, with its origin; none if nobody has answered."""
    call = request["call"]
    for origin, path in {"index": folder / "index.json", "api-model": API_ANSWERS / f"{call}.json"}.items():
        if path.exists():
            body = {"json": json.loads(path.read_text(encoding="utf-8"))}
            return {"call": call, "origin": origin, "request": request["request"], "body": body}
    if not (folder / "reply.md").exists():
        return None
    text = (folder / "reply.md").read_text(encoding="utf-8").strip("\n")
    prompt = (folder / "prompt.md").read_text(encoding="utf-8")
    names = re.findall(r"^\[picture: (\d+\.\w+)\]$", prompt, re.MULTILINE)
    pictures = [image_tokens(folder / name) for name in names]
    asked, prefix = request["request"], _before_cache_point(request["request"])
    kept = sum(pictures[: sum("image" in block for block in prefix)])
    kept += text_tokens("".join(block.get("text", "") for block in prefix))
    usage = {"inputTokens": text_tokens(prompt) + sum(pictures) - kept}
    if kept:
        usage |= {"cacheReadInputTokens": kept * in_cache, "cacheWriteInputTokens": kept * (not in_cache)}
    limit = asked["body"]["json"]["max_tokens"] if "body" in asked else asked["inferenceConfig"]["maxTokens"]
    body = _body(call, asked["modelId"], cut(text, limit), text_tokens(text) > limit, usage)
    return {"call": call, "origin": "model", "estimated": ["usage", "latency"], "request": asked, "body": body}


def _body(call: str, model: str, text: str, is_cut: bool, usage: dict[str, int]) -> dict[str, Any]:
    """The response body that carries `text`, in the form of the operation."""
    usage = {**usage, "outputTokens": text_tokens(text)}
    usage["totalTokens"] = sum(usage.values())
    told = {"usage": usage, "metrics": {"latencyMs": 900 + 15 * usage["outputTokens"]}}
    stop, content = "max_tokens" if is_cut else "end_turn", [{"text": text}]
    match call.partition(".")[2]:
        case "Converse":
            output = {"message": {"role": "assistant", "content": content}}
            return {"json": {"output": output, "stopReason": stop, **told}}
        case "ConverseStream":
            pieces = [text[start : start + _STREAMED] for start in range(0, len(text), _STREAMED)]
            events = [("messageStart", {"role": "assistant"})]
            events += [("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": each}}) for each in pieces]
            events += [("contentBlockStop", {"contentBlockIndex": 0}), ("messageStop", {"stopReason": stop})]
            return {"events": [{"event": name, "data": data} for name, data in [*events, ("metadata", told)]]}
        case "InvokeModel":
            head = {"id": "msg_bdrk_" + hashlib.sha256(text.encode()).hexdigest()[:24], "type": "message"}
            head |= {"role": "assistant", "model": model.rpartition("anthropic.")[2]}
            counts = {"input_tokens": usage["inputTokens"], "output_tokens": usage["outputTokens"]}
            ending = {"stop_reason": stop, "stop_sequence": None, "usage": counts}
            return {"json": {**head, "content": [{"type": "text", "text": text}], **ending}}
    raise ValueError(f"no form of an answer is known for {call}")


def _weight(character: str) -> float:
    return 1 / CHARACTERS_A_TOKEN if character.isascii() else 1.0


def text_tokens(text: str) -> int:
    """Estimated number of tokens of `text`."""
    return round(sum(map(_weight, text)))


def cut(text: str, tokens: int) -> str:
    """The beginning of `text` that is estimated at `tokens` tokens."""
    return text[: sum(total <= tokens for total in accumulate(map(_weight, text)))]


def image_tokens(path: Path) -> int:
    """Estimated number of tokens of a picture, which is scaled down to LONG_SIDE pixels before it is read."""
    width, height = Image.open(path).size
    scale = min(1.0, LONG_SIDE / max(width, height))
    return round(width * height * scale * scale / PIXELS_A_TOKEN)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("ask", "take"):
        sys.exit(__doc__)
    {"ask": ask, "take": take}[sys.argv[1]](sys.argv[2])
