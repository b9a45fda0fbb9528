"""The tutor lesson judges the answer it is given: another answer, another verdict."""

import json

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


def table_in(outcome):
    data = [output.get("data", {}) for cell in outcome.notebook.cells for output in cell.get("outputs", [])]
    return next(each["text/markdown"] for each in data if "Conv2D" in each.get("text/markdown", ""))


def test_control_a_wrong_padding_in_the_answer_is_caught(tmp_path):
    stored = json.loads((ROOT / "data/recordings/02_coding_tutor.json").read_text(encoding="utf-8"))
    whole = [
        entry
        for entry in stored["entries"]
        if entry["call"] == "bedrock-runtime.ConverseStream"
        and entry["request"]["inferenceConfig"] == {"maxTokens": 4096}
        and len(entry["request"]["messages"]) == 1
    ]
    assert len(whole) == 1 and text_of(whole[0]).count(RIGHT) == 1
    put_text(whole[0], text_of(whole[0]).replace(RIGHT, WRONG))
    (tmp_path / "02_coding_tutor.json").write_text(json.dumps(stored), encoding="utf-8")
    env = environment()

    assert "**fail**" not in table_in(execute(LESSON, env))

    swapped = execute(LESSON, {**env, "WORKSHOP_RECORDINGS_DIR": str(tmp_path)})
    failed = [row for row in table_in(swapped).splitlines() if "**fail**" in row]
    assert failed and all("Conv2D" in row for row in failed)
    assert swapped.error.startswith("RecordingMissing")  # the conversation goes on from another answer
