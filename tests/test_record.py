"""`make record` against a service on this machine: replay gives the same, nothing secret, no file half-written."""

import io
import json
import os
import random
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from multiprocessing import get_context

import nbformat
import pytest
from botocore.exceptions import ClientError

from helpers import clients, workshop
from helpers.language import WorkshopError
from helpers.replay.recording import Recording, raw
from helpers.settings import settings
from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import after, refused, slow
from tools import record, recorder
from tools.notebooks import Outcome, write
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
    "NO_PROXY": "127.0.0.1",
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
KILLS = 8


# One call after the other, in this process


@pytest.fixture
def recorded(change, monkeypatch, tmp_path):
    """Run `session(client)` in live mode with the recorder in place; the answers end up in lesson.json."""
    monkeypatch.setattr(workshop, "MODES", dict(workshop.MODES))

    def run(session, answers=ANSWERS, *faults):
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        recorder.install()
        change(mode="live", recordings_dir=tmp_path)
        with Service(Script(answers), *faults) as service:
            monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
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


def test_a_retried_call_keeps_its_last_answer_only(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    throttled = On(refused("too many tokens"), operation="Converse", calls={1, 2})
    live = recorded(lambda client: client("bedrock-runtime").converse(**QUESTION), ANSWERS, throttled)
    assert live["ResponseMetadata"]["RetryAttempts"] == 2
    assert [entry["status"] for entry in Recording(tmp_path / "lesson.json").entries] == [200]


def test_an_error_is_recorded_as_it_came(recorded):
    def ask(client):
        with pytest.raises(ClientError) as caught:
            client("bedrock-runtime").converse(**QUESTION)
        return caught.value.response["Error"]

    live = recorded(ask, ANSWERS, On(refused("no access"), operation="Converse"))
    assert live["Code"] == "AccessDeniedException" and ask(clients.client)["Message"] == live["Message"]


def test_threads_are_recorded_without_loss_and_half_a_character_too(recorded):
    questions = [{**QUESTION, "system": [{"text": str(number)}]} for number in range(40)]

    def ask_all(client):
        runtime = client("bedrock-runtime")
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda question: runtime.converse(**question)["output"], questions))

    def answer(params):
        return Reply(f"answer to {params['system'][0]['text']} \ud83d")

    live = recorded(ask_all, {"bedrock-runtime.Converse": answer})
    assert ask_all(clients.client) == live
    assert live[17]["message"]["content"][0]["text"] == "answer to 17 \ud83d"


def refusal(out):
    """What a recorder of the same notebook in another process is told."""
    try:
        recorder.Record("lesson")
    except WorkshopError as error:
        out.put(str(error))
    out.put("")


def test_a_second_recorder_of_the_same_notebook_is_refused(recorded):
    def meanwhile(client):
        fork = get_context("fork")
        process = fork.Process(target=refusal, args=(out := fork.SimpleQueue(),))
        process.start()
        client("bedrock-runtime").converse(**QUESTION)
        return out.get()

    assert "Another process records this notebook" in recorded(meanwhile)


@pytest.mark.parametrize(
    "secret",
    [
        *(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/x", f"arn%3Aaws%3Aiam%3A%3A{ACCOUNT}%3Arole", f"acct{ACCOUNT}"),
        *(f"kb-{ACCOUNT}-letters", f"{ACCOUNT}.dkr.ecr.amazonaws.com", KEY, KEY.replace("AKIA", "ASIA"), TOKEN),
        *("ABSKQmVkcm9ja0FQSUtleS" + "x" * 30, "ghp_" + "a1B2" * 9, "github_pat_" + "a1B2_" * 9),
        *("sk-ant-api03-" + "a1B2-" * 9, "sk-proj-" + "a1B2_" * 9),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ",
        "-----BEGIN RSA PRIVATE KEY-----\\nMIIEow\\n-----END RSA PRIVATE KEY-----",
        *("ip-10-0-3-17.ec2.internal", "X-Amz-Signature=abcdef0123"),
    ],
)
def test_scrub_leaves_no_secret_behind(secret):
    clean = scrub(json.dumps({"text": f"before {secret} after"}))
    assert secret not in clean and ACCOUNT not in clean and "before " in clean and " after" in clean
    assert scrub(clean) == clean


def test_scrub_looks_into_json_inside_strings_and_leaves_numbers_alone():
    inner = json.dumps({"SecretAccessKey": "short but secret", "dbPassword": "also", "kept": "yes"})
    clean = scrub(json.dumps({"text": inner, "SessionToken": "third", "own": SECRET}), [SECRET])
    assert not [each for each in ("short but", "also", "third", SECRET) if each in clean]
    assert json.loads(json.loads(clean)["text"])["kept"] == "yes"
    plain = '"$386 billion, 1,298,000 people, 3.141592653589, a987654321098b"'
    assert scrub(plain) == plain


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", {"json": {"a": [1, "é"], "b": None}}),
        ("text/xml", {"text": "<a>é</a>"}),
        ("application/octet-stream", {"base64": "/9j/4AAQ"}),
        ("application/vnd.amazon.eventstream", {"events": [{"exception": "e", "data": {"message": "m"}}]}),
    ],
)
def test_bodies_come_back_as_they_were(kind, body):
    assert recorder.readable(kind, raw(body)[1]) == body and raw(body)[0] == kind


def test_a_file_is_replaced_at_once_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "lesson.json"
    recorder.save(Recording(path), path)
    before, more = path.read_bytes(), Recording(path)
    more.add({"call": "a.B", "request": {}, "body": {"json": {}}})
    monkeypatch.setattr("os.replace", lambda *_: pytest.fail("here the old file still stands"))
    with pytest.raises(pytest.fail.Exception):
        recorder.save(more, path)
    assert path.read_bytes() == before


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

QUESTIONS = ["red", "green", "blue", "cyan", "plum"]
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


def small(folder, cells=SMALL):
    """A small notebook in `folder`."""
    path = folder / "small.ipynb"
    write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells]), path)
    return path


def says(version):
    """A service that answers with the question and a version."""

    def echo(params):
        return Reply(f"{params['messages'][0]['content'][0]['text']}, version {version}")

    return Script(ANSWERS | {"bedrock-runtime.Converse": echo})


def texts(folder):
    """The recorded texts, sorted."""
    bodies = [entry["body"].get("json", {}) for entry in Recording(folder / "small.json").entries]
    return sorted(body["output"]["message"]["content"][0]["text"] for body in bodies if "output" in body)


def environment_of(service, folder):
    return {**KEYS, "AWS_ENDPOINT_URL": service.url, "WORKSHOP_RECORDINGS_DIR": str(folder)}


def test_a_notebook_recorded_in_kernels_prints_what_the_service_said_but_nothing_secret(tmp_path, monkeypatch):
    path = small(tmp_path)
    with Service(says(1)) as service:
        for name, value in environment_of(service, tmp_path).items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        assert record.record(path) == 0
    printed = ["".join(output.text for output in cell.outputs) for cell in nbformat.read(path, 4).cells]
    assert "7 captured from the live service" in printed[0]
    assert printed[1] == f"arn:aws:iam::{KEPT}:user/x\n{KEPT}, SCRUBBED, SCRUBBED.\n"
    assert printed[2].splitlines() == [f"about {colour}, version 1" for colour in QUESTIONS]
    assert not [each for each in PRIVATE if each in (tmp_path / "small.json").read_text() + path.read_text()]
    assert {each.name for each in tmp_path.iterdir()} == {"small.json", "small.ipynb"}


def execute_here(path, env, preamble=""):
    """Run the cells in this process: a kernel for each of many runs would cost minutes, and it writes no file."""
    os.environ.update(env)
    settings.cache_clear()
    notebook, names, ran, error = nbformat.read(path, 4), {}, 0, ""
    exec(preamble, names)
    for cell in notebook.cells:
        with redirect_stdout(io.StringIO()) as text:
            try:
                exec(cell.source, names)
            except Exception as problem:
                error = str(problem)
                break
        ran += 1
        cell.execution_count, cell.outputs = ran, [nbformat.v4.new_output("stream", text=text.getvalue())]
    return Outcome(path, notebook, ran, 0.0, error)


def record_here(path, env, arguments):
    """All of `make record`, in a process of its own."""
    os.environ.update(env)
    record.execute = execute_here
    with redirect_stdout(path.with_name("said").open("w")):
        code = record.main(["--yes", *arguments, str(path)])
    os._exit(code)


@contextmanager
def recording(folder, answers, *faults, arguments=()):
    """A process that records the small notebook in `folder`, and the service that it asks."""
    service = Service(answers, *faults)
    # Forked before the service has threads, with everything imported.
    asked = (folder / "small.ipynb", environment_of(service, folder), arguments)
    process = get_context("fork").Process(target=record_here, args=asked)
    process.start()
    with service:
        yield process, service
        process.join()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The small notebook, recorded once; copy the folder to go on from there."""
    folder = tmp_path_factory.mktemp("small")
    small(folder)
    with recording(folder, says(1)) as (process, _):
        pass
    assert process.exitcode == 0
    return folder


@pytest.fixture
def copied(first, tmp_path):
    """A folder of one's own with the first recording."""
    return shutil.copytree(first, tmp_path / "copy")


def test_some_requests_are_renewed_the_others_stay_and_what_is_asked_no_more_goes(copied):
    small(copied, [*SMALL[:2], SMALL[2].replace("'plum'", "'pink'")])
    with recording(copied, says(2), arguments=["--only", "about blue"]) as (process, service):
        pass
    assert process.exitcode == 0
    asked = {call.params["messages"][0]["content"][0]["text"] for call in service.calls}
    assert asked == {"about blue", "about pink"}
    new = {"blue", "pink"}
    assert texts(copied) == sorted(f"about {c}, version {1 + (c in new)}" for c in ["red", "green", "cyan", *new])


def test_a_run_that_fails_leaves_file_and_notebook_as_they_were(copied):
    before = [(copied / name).read_bytes() for name in ("small.json", "small.ipynb")]
    with recording(copied, says(2), On(refused("expired"), operation="Converse", calls=after(2))) as (process, _):
        pass
    assert process.exitcode == 1 and "is as it was" in (copied / "said").read_text()
    assert [(copied / name).read_bytes() for name in ("small.json", "small.ipynb")] == before
    assert len(Recording(copied / "small.new.json").entries) == 5  # who, a passage, two answers, and the refusal


@pytest.mark.skipif(sys.platform == "win32", reason="the processes are forked")
def test_a_recording_killed_at_any_moment_leaves_whole_files(first, tmp_path, report):
    random.seed(6)
    old = {name: (first / name).read_bytes() for name in ("small.json", "small.ipynb")}
    new_texts = sorted(f"about {colour}, version 2" for colour in QUESTIONS)

    def run(number, call, seconds):
        """Record anew, and kill it `seconds` after the service saw that call; what is then there."""
        folder = shutil.copytree(first, tmp_path / str(number))
        with recording(folder, says(2), On(slow(0.05), operation="Converse")) as (process, service):
            limit = time.monotonic() + 60
            while len(service.calls) < call and process.is_alive() and time.monotonic() < limit:
                time.sleep(0.005)
            time.sleep(seconds)
            process.kill()
        found = {name: (folder / name).read_bytes() for name in old}
        nbformat.reads(found["small.ipynb"].decode(), 4)
        if found["small.json"] == old["small.json"]:
            return "old" if found == old else "broken"
        return "new" if texts(folder) == new_texts else "broken"

    # From the first answer on: while answers come in, while the file is replaced, while the notebook runs again.
    moments = [(random.randint(1, 7), random.uniform(0, 0.1)) for _ in range(KILLS // 2)]
    moments += [(7, random.uniform(0, 0.6)) for _ in range(KILLS - len(moments))]
    found = [run(number, *moment) for number, moment in enumerate(moments)]
    counts = f"{found.count('old')} old and {found.count('new')} new files"
    report(f"recording killed {KILLS} times: {counts}, whole")
    assert set(found) <= {"old", "new"} and "old" in found
