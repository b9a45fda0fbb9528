"""Recorded answers without an account: what is asked stands in a folder, and its reply is taken word for word."""

import io
import json

import nbformat
import pytest
from PIL import Image

from helpers import clients, replay, workshop
from helpers.replay.recording import Recording, RecordingMissing
from tools import answers
from tools.notebooks import Outcome

RULES, QUESTION = "Be brief.", "Which colour?"
REPLY = "**Green**, 绿色.\n\n- Word for word,  twice\n" * 2


def picture():
    content = io.BytesIO()
    Image.new("RGB", (90, 60), "green").save(content, "png")
    return content.getvalue()


def converse(limit, question=QUESTION):
    content = [{"image": {"format": "png", "source": {"bytes": picture()}}}, {"text": question}]
    asked = {"messages": [{"role": "user", "content": content}], "inferenceConfig": {"maxTokens": limit}}
    answer = clients.client("bedrock-runtime").converse(modelId="m.x", system=[{"text": RULES}], **asked)
    return answer["stopReason"], answer["output"]["message"]["content"][0]["text"]


def test_a_reply_is_taken_word_for_word_and_cut_only_at_max_tokens(tmp_path, change, monkeypatch):
    for name in ("ASKS", "RECORDINGS"):
        monkeypatch.setattr(answers, name, tmp_path)
    change(recordings_dir=tmp_path)
    workshop.start("lesson")
    with monkeypatch.context() as patch:
        patch.setattr(replay.Replay, "answer", replay.Replay.answer)  # which `listen` exchanges
        answers.listen(str(tmp_path / "lesson"))
        assert {converse(limit) for limit in (999, 9)} == {("end_turn", answers.PENDING)}
    folders = [path.parent for path in (tmp_path / "lesson").glob("*/prompt.md")]
    assert len(folders) == 2
    for folder in folders:
        told = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "request.json"}
        text = f"# System\n\n{RULES}\n\n# User\n\n[picture: 1.png]\n\n{QUESTION}\n"
        assert told == {"prompt.md": text.encode(), "1.png": picture()}  # nothing else is given away
        (folder / "reply.md").write_text(REPLY, encoding="utf-8")
    answers.take("lesson")
    workshop.start("lesson")
    assert converse(999) == ("end_turn", REPLY.rstrip("\n"))
    stop, text = converse(9)
    assert stop == "max_tokens" and REPLY.startswith(text) and 10 < len(text) < 40
    with pytest.raises(RecordingMissing):  # a control: nothing answers what was not asked
        converse(999, "Which shape?")


@pytest.mark.parametrize(("error", "left"), [("", 1), ("KeyError: x", 2)])
def test_only_a_run_without_an_error_drops_what_is_asked_no_more(error, left, tmp_path, monkeypatch, capsys):
    for name in ("ASKS", "RECORDINGS", "FOLDER"):
        monkeypatch.setattr(answers, name, tmp_path)
    first, second = ({"call": "x.Y", "request": {"number": number}} for number in (1, 2))
    recording = Recording(tmp_path / "lesson.json")
    recording.entries = [{**each, "origin": "model", "body": {"json": {}}} for each in (first, second)]
    answers.save(recording, recording.path)

    def asks_the_first(path, *_, **__):
        (tmp_path / "lesson" / "key").mkdir(parents=True)
        (tmp_path / "lesson" / "key" / "request.json").write_text(json.dumps(first))
        return Outcome(path, nbformat.v4.new_notebook(), 1, 0.0, error)

    monkeypatch.setattr(answers, "execute", asks_the_first)
    answers.ask("lesson")
    assert error in capsys.readouterr().out
    answers.take("lesson")
    assert len(Recording(recording.path).entries) == left
