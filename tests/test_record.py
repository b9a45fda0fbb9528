"""`make record` against a service on this machine: replay gives the same, nothing secret, no file half-written."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from unittest.mock import Mock

import nbformat
import pytest
from botocore.exceptions import ClientError

from helpers import clients, workshop
from helpers.replay.recording import Recording
from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import after, refused
from tools import record, recorder
from tools.notebooks import write
from tools.scrub import ACCOUNT as KEPT
from tools.scrub import scrub

ACCOUNT, KEY, SECRET = "987654321098", "AKIAQWERTYUIOPASDFGH", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjE" + "aB3/" * 20
KNOWLEDGE_BASE = "QWERTYUIOP"
PRIVATE = (ACCOUNT, KEY, SECRET, TOKEN, KNOWLEDGE_BASE, "127.0.0.1", "Signature")
KEYS = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": TOKEN,
    "AWS_REGION": "eu-central-1",
    "WORKSHOP_KNOWLEDGE_BASE_ID": KNOWLEDGE_BASE,
}
QUESTION = {"modelId": "m.x", "messages": [{"role": "user", "content": [{"text": "hello"}]}]}
BODY = json.dumps({"max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]})
ANSWERS = {
    "sts.GetCallerIdentity": {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/x", "UserId": KEY},
    "bedrock-runtime.Converse": Reply("Hallo, 你好.", thinking="Which language?"),
    "bedrock-runtime.ConverseStream": Reply("one two three"),
    "bedrock-runtime.InvokeModel": Reply("plain"),
    "bedrock-runtime.InvokeModelWithResponseStream": Reply("one two three"),
    "bedrock-agent-runtime.Retrieve": {"retrievalResults": [{"content": {"text": f"{ACCOUNT}, {KEY}, {TOKEN}."}}]},
}


@pytest.fixture
def service(change, monkeypatch, tmp_path):
    """Open the service that the process asks, with a learner's keys."""
    monkeypatch.setattr(workshop, "MODES", dict(workshop.MODES))

    def opened(answers, *faults):
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        found = Service(Script(ANSWERS | answers), *faults)
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        change(recordings_dir=tmp_path)
        return found

    return opened


# One call after the other


@pytest.fixture
def recorded(service, change, tmp_path):
    """Run `session(client)` in live mode with the recorder in place; the answers end up in lesson.json."""

    def run(session, *faults, **answers):
        recorder.install()
        with service({f"bedrock-runtime.{name}": answer for name, answer in answers.items()}, *faults):
            change(mode="live")
            workshop.start("lesson")
            result = session(clients.client)
        (tmp_path / "lesson.new.json").replace(tmp_path / "lesson.json")
        change(mode="replay")
        workshop.start("lesson")
        return result

    return run


def everything(client):
    """One of each kind of call; what comes back, without what differs in every response."""
    runtime, agent = client("bedrock-runtime"), client("bedrock-agent-runtime")
    chunks = runtime.invoke_model_with_response_stream(modelId="m.x", body=BODY)["body"]
    return [
        runtime.converse(**QUESTION)["output"],
        list(runtime.converse_stream(**QUESTION)["stream"]),
        json.loads(runtime.invoke_model(modelId="m.x", body=BODY)["body"].read()),
        [json.loads(event["chunk"]["bytes"]) for event in chunks],
        agent.retrieve(knowledgeBaseId="KB12345678", retrievalQuery={"text": "q"})["retrievalResults"][0].keys(),
    ]


def test_replay_gives_what_was_recorded_and_a_second_recording_is_the_same(recorded, tmp_path):
    live = recorded(everything)
    assert everything(clients.client) == live
    first = (tmp_path / "lesson.json").read_bytes()
    entries = Recording(tmp_path / "lesson.json").entries
    assert len(entries) == 5 and {entry["origin"] for entry in entries} == {"service"}
    recorded(everything)
    assert (tmp_path / "lesson.json").read_bytes() == first


def test_a_retried_call_keeps_its_last_answer_only_and_an_error_stays_one(recorded, tmp_path, monkeypatch):
    def ask(client):
        answer = client("bedrock-runtime").converse(**QUESTION)
        with pytest.raises(ClientError) as caught:
            client("bedrock-runtime").converse(**QUESTION, system=[{"text": "another"}])
        return answer["output"], caught.value.response["Error"]

    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    throttled = On(refused("too many tokens"), operation="Converse", calls={1, 2})
    live = recorded(ask, throttled, On(refused("no access"), operation="Converse", calls=after(3)))
    assert live == ask(clients.client) and live[1]["Code"] == "AccessDeniedException"
    assert sorted(entry["status"] for entry in Recording(tmp_path / "lesson.json").entries) == [200, 403]


def test_threads_are_recorded_without_loss_and_half_a_character_too(recorded):
    questions = [{**QUESTION, "system": [{"text": str(number)}]} for number in range(40)]

    def ask_all(client):
        runtime = client("bedrock-runtime")
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda question: runtime.converse(**question)["output"], questions))

    live = recorded(ask_all, Converse=lambda params: Reply(f"answer to {params['system'][0]['text']} \ud83d"))
    assert ask_all(clients.client) == live
    assert live[17]["message"]["content"][0]["text"] == "answer to 17 \ud83d"


SECRETS = [
    *(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/x", f"arn%3Aaws%3Aiam%3A%3A{ACCOUNT}%3Arole", f"acct{ACCOUNT}"),
    *(f"kb-{ACCOUNT}-letters", f"{ACCOUNT}.dkr.ecr.amazonaws.com", KEY, KEY.replace("AKIA", "ASIA"), TOKEN),
    *("ABSKQmVkcm9ja0FQSUtleS" + "x" * 30, "ghp_" + "a1B2" * 9, "github_pat_" + "a1B2_" * 9),
    *("sk-ant-api03-" + "a1B2-" * 9, "sk-proj-" + "a1B2_" * 9),
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ",
    "-----BEGIN RSA PRIVATE KEY-----\\nMIIEow\\n-----END RSA PRIVATE KEY-----",
    *("ip-10-0-3-17.ec2.internal", "X-Amz-Signature=abcdef0123"),
]


def test_scrub_leaves_no_secret_behind_and_numbers_alone():
    for secret in SECRETS:
        clean = scrub(json.dumps({"text": f"before {secret} after"}))
        assert secret not in clean and ACCOUNT not in clean and "before " in clean and " after" in clean
        assert scrub(clean) == clean
    inner = json.dumps({"SecretAccessKey": "short but secret", "dbPassword": "also", "kept": "yes"})
    clean = scrub(json.dumps({"text": inner, "SessionToken": "third", "own": SECRET}), [SECRET])
    assert not [each for each in ("short but", "also", "third", SECRET) if each in clean]
    assert json.loads(json.loads(clean)["text"])["kept"] == "yes"
    plain = '"$386 billion, 1,298,000 people, 3.141592653589, a987654321098b"'
    assert scrub(plain) == plain


def test_what_differs_from_the_rule_book_is_said(tmp_path):
    found = Recording(tmp_path / "none.json")
    asked = {"modelId": "us.anthropic.claude-sonnet-5-5", "messages": [], "inferenceConfig": {"temperature": 0}}
    entry = {"call": "bedrock-runtime.Converse", "origin": "service", "request": asked, "body": {"json": {}}}
    assert record.differences(found) == ["  nothing differs from tests/loopback/rules.py"]
    found.add(entry)
    found.add({**entry, "request": {"modelId": "m.x", "messages": []}, "status": 400})
    first, second = record.differences(found)
    assert "rule 5 says" in first and "no rule says so" in second


# Whole notebooks

QUESTIONS = ["red", "green", "blue"]
SMALL = [
    "from helpers import clients, retrieval, workshop\n"
    "workshop.start('small')\n"
    "runtime = clients.client('bedrock-runtime')",
    "print(clients.client('sts').get_caller_identity()['Arn'])\n"
    "agent = clients.client('bedrock-agent-runtime')\n"
    "print(retrieval.retrieve(agent, retrieval.knowledge_base_id(), 'a question')[0].text)",
    f"for colour in {QUESTIONS}:\n"
    "    message = {'role': 'user', 'content': [{'text': 'about ' + colour}]}\n"
    "    response = runtime.converse(modelId='m.x', messages=[message])\n"
    "    print(response['output']['message']['content'][0]['text'])",
]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The path of a small notebook; whoever is asked agrees to the cost of recording it."""
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    path = tmp_path / "small.ipynb"
    write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in SMALL]), path)
    return path


def says(version):
    """Answers with the question and a version."""
    asked = "{messages[0][content][0][text]}"
    return {"bedrock-runtime.Converse": lambda params: Reply(f"{asked.format(**params)}, version {version}")}


def held(path):
    """What stands in the recording and in the notebook."""
    return [path.with_suffix(".json").read_bytes(), path.read_bytes()]


def test_a_notebook_recorded_in_kernels_prints_what_the_service_said_but_nothing_secret(service, small, capsys):
    with service(says(1)):
        assert record.main([str(small)]) == 0
    printed = ["".join(output.text for output in cell.outputs) for cell in nbformat.read(small, 4).cells]
    assert "5 captured from the live service" in printed[0]
    assert printed[1] == f"arn:aws:iam::{KEPT}:user/x\n{KEPT}, SCRUBBED, SCRUBBED.\n"
    assert printed[2].splitlines() == [f"about {colour}, version 1" for colour in QUESTIONS]
    assert not [each for each in PRIVATE if each in b"".join(held(small)).decode()]
    assert {each.name for each in small.parent.iterdir()} == {"small.json", "small.ipynb"}


def test_nobody_agrees_or_the_run_fails_and_file_and_notebook_are_as_they_were(service, small, monkeypatch, capsys):
    recorder.save(Recording(small.with_suffix(".json")), small.with_suffix(".json"))
    before = held(small)
    with service(says(2), On(refused("expired"), operation="Converse", calls=after(2))) as there:
        monkeypatch.setattr("builtins.input", lambda question: "")
        assert record.main([str(small)]) == 1 and there.calls == []
        monkeypatch.setattr("builtins.input", lambda question: "yes")
        assert record.main([str(small)]) == 1
    assert "is as it was" in capsys.readouterr().out and held(small) == before
    assert len(Recording(small.with_suffix(".new.json")).entries) == 5  # who, a passage, two answers, and the refusal


def test_a_recording_or_notebook_that_is_not_written_to_its_end_leaves_the_old_file(small, tmp_path, monkeypatch):
    recorder.save(Recording(tmp_path / "none.json"), small.with_suffix(".json"))
    before, changed = held(small), Recording(tmp_path / "none.json")
    changed.add({"call": "x.Y", "origin": "service", "request": {}, "body": {"json": {}}})
    writers = {".json": partial(recorder.save, changed), ".ipynb": partial(write, nbformat.v4.new_notebook())}
    for suffix, attempt in writers.items():
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("os.replace", Mock(side_effect=KeyboardInterrupt))
            attempt(small.with_suffix(suffix))
        assert held(small) == before
        attempt(small.with_suffix(suffix))  # a control
        assert held(small) != before
        before = held(small)


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/zh"])
def test_a_solution_is_not_recorded_over_its_lesson(folder, capsys):
    with pytest.raises(SystemExit):
        record.main([f"{folder}/solutions/04_financial_rag.ipynb"])
    assert "no recording of its own" in capsys.readouterr().err
