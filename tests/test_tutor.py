"""The tutor lesson judges the answer it is given: another answer, another verdict, and the lesson goes on."""

import json

import nbformat

from helpers.settings import ROOT
from tools.notebooks import FOLDER, environment, execute

LESSON = FOLDER / "02_coding_tutor.ipynb"
RIGHT, WRONG = 'mode="constant")', 'mode="edge")'


def text_of(entry):
    events = entry["body"]["events"]
    return "".join(event["data"].get("delta", {}).get("text", "") for event in events)


def put_text(entry, text):
    events = entry["body"]["events"]
    deltas = [event for event in events if event["event"] == "contentBlockDelta"]
    for delta in deltas:
        delta["data"]["delta"]["text"] = ""
    deltas[0]["data"]["delta"]["text"] = text


def checked_layers(notebook):
    data = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    tables = [each["text/markdown"] for each in data if "| verdict |" in each.get("text/markdown", "")]
    assert len(tables) == 1
    return {row.split("|")[1].strip(): row.split("|")[5].strip(" *") for row in tables[0].splitlines()[2:]}


def test_control_a_wrong_padding_in_the_answer_is_caught_and_the_lesson_goes_on(tmp_path):
    stored = json.loads((ROOT / "data/recordings/02_coding_tutor.json").read_text(encoding="utf-8"))
    turns = [entry for entry in stored["entries"] if entry["call"] == "bedrock-runtime.ConverseStream"]
    (whole,) = (
        entry
        for entry in turns
        if entry["request"]["inferenceConfig"] == {"maxTokens": 4096}
        and len(entry["request"]["messages"]) == 1
    )
    answer = text_of(whole)
    assert answer.count(RIGHT) == 1
    put_text(whole, answer.replace(RIGHT, WRONG))
    for entry in turns:  # the turns that follow carry the answer, and the learner's quotes from it
        for message in entry["request"]["messages"]:
            for block in message["content"]:
                if block["text"] == answer or message["role"] == "user":
                    block["text"] = block["text"].replace(RIGHT, WRONG)
    (tmp_path / "02_coding_tutor.json").write_text(json.dumps(stored), encoding="utf-8")

    before = checked_layers(nbformat.read(LESSON, as_version=4))
    assert set(before.values()) == {"pass"}

    swapped = execute(LESSON, {**environment(), "WORKSHOP_RECORDINGS_DIR": str(tmp_path)})
    after = checked_layers(swapped.notebook)
    assert before.keys() == after.keys()
    failed = {name for name, verdict in after.items() if verdict == "fail"}
    assert failed == {name for name in before if "Conv2D" in name} != set()
    assert not swapped.error
    assert swapped.cells == sum(cell.cell_type == "code" for cell in swapped.notebook.cells)
