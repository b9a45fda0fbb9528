"""`make record` against a service on this machine: the same outputs, the same bytes, and no file ever half-written."""

import io
import json
import os
import random
import shutil
import sys
import time
from contextlib import redirect_stdout
from multiprocessing import get_context

import nbformat
import pytest

from helpers.recordings.file import Recording
from helpers.settings import settings
from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import after, refused, slow
from tests.test_live_notebooks import RECORDINGS, comparable, source_for
from tools import record
from tools.notebooks import FOLDER, Outcome, write

ACCOUNT, KEY, SECRET = "987654321098", "AKIAQWERTYUIOPASDFGH", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
KNOWLEDGE_BASE = "QWERTYUIOP"
KEYS = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "us-west-2",
    "WORKSHOP_KNOWLEDGE_BASE_ID": KNOWLEDGE_BASE,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
}
KILLS = 20


def recorded(folder, path, answers, *faults, only="", passes=(record.collect, record.rewrite)):
    """Record the notebook at `path` into `folder`; the exit codes of the passes and what the service was asked."""
    with pytest.MonkeyPatch.context() as patch, Service(answers, *faults) as service:
        for name, value in {
            **KEYS,
            "AWS_ENDPOINT_URL": service.url,
            "WORKSHOP_RECORDINGS_DIR": str(folder),
        }.items():
            patch.setenv(name, value)
        settings.cache_clear()
        codes = [step(path, only) if step is record.collect else step(path) for step in passes]
        return codes, service.calls


@pytest.fixture(scope="module", params=["01_pcb_defect_inspection", "02_coding_tutor", "04_financial_rag"])
def lesson(request, tmp_path_factory):
    """A lesson recorded: its name, folder, copy of the notebook, exit codes."""
    folder = tmp_path_factory.mktemp("recorded")
    path = shutil.copy(FOLDER / f"{request.param}.ipynb", folder)
    path = folder / path.name if hasattr(path, "name") else folder / f"{request.param}.ipynb"
    codes, _ = recorded(folder, path, source_for(request.param))
    return request.param, folder, path, codes


def test_a_lesson_recorded_gives_the_same_outputs_cell_by_cell(lesson):
    name, _, path, codes = lesson
    assert codes == [0, 0]
    stored, now = (nbformat.read(place, 4).cells for place in (FOLDER / f"{name}.ipynb", path))
    told = []
    for before, after_ in zip(stored, now, strict=True):
        if before.cell_type == "code":
            expected, got = comparable(before, name), comparable(after_, name)
            told += got
            # Only what says where an answer is from, and that tokens are estimated, is another now.
            if "recordings.use(" not in before.source:
                assert [text.replace("; token counts are estimates", "") for text in expected] == got
    assert any("captured from the live service" in text for text in told)


def test_a_lesson_recorded_holds_the_same_answers(lesson):
    name, folder, _, _ = lesson
    old, new = (Recording(place / f"{name}.json").entries for place in (RECORDINGS, folder))
    answers = [
        {json.dumps([e["call"], e["request"], e["body"]], sort_keys=True) for e in each}
        for each in (old, new)
    ]
    calls = [{text for text in each if "Retrieve" not in text} for each in answers]
    assert calls[0] >= calls[1] and len(calls[1]) > 5
    assert {entry["origin"] for entry in new} == {"service"}


def test_nothing_secret_is_in_file_or_notebook(lesson):
    name, folder, path, _ = lesson
    text = (folder / f"{name}.json").read_text(encoding="utf-8") + path.read_text(encoding="utf-8")
    assert not [secret for secret in (ACCOUNT, KEY, SECRET, KNOWLEDGE_BASE, "127.0.0.1") if secret in text]


def test_recording_a_lesson_again_changes_no_byte(lesson):
    name, folder, path, _ = lesson
    if not name.startswith("04"):
        pytest.skip("lesson 04 shows it, in half the time")
    before = (folder / f"{name}.json").read_bytes()
    codes, _ = recorded(folder, path, source_for(name), passes=[record.collect])
    assert codes == [0] and (folder / f"{name}.json").read_bytes() == before
    assert [each.name for each in folder.iterdir() if each.suffix not in (".json", ".ipynb")] == []
    assert not list(folder.glob("*.new.json"))


QUESTIONS = ["red", "green", "blue", "cyan", "plum"]
SMALL = [
    "from helpers import clients, recordings\nrecordings.use('small')\nruntime = clients.client('bedrock-runtime')",
    "identity = clients.client('sts').get_caller_identity()\nprint(identity['Arn'])",
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

    identity = {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/x", "UserId": KEY}
    return Script({"bedrock-runtime.Converse": echo, "sts.GetCallerIdentity": identity})


def texts(folder):
    """The recorded texts, by the order of the file."""
    entries = Recording(folder / "small.json").entries
    contents = [entry["body"].get("json", {}).get("output", {}).get("message", {}) for entry in entries]
    return [message["content"][0]["text"] for message in contents if message]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The small notebook, recorded once; copy the folder to go on from there."""
    folder = tmp_path_factory.mktemp("small")
    path = small(folder)
    codes, _ = recorded(folder, path, says(1))
    assert codes == [0, 0]
    return folder


@pytest.fixture
def copied(first, tmp_path):
    """A folder of one's own with the first recording."""
    return shutil.copytree(first, tmp_path / "copy")


def test_the_account_id_printed_in_the_live_pass_is_in_no_output(first):
    text = (first / "small.ipynb").read_text(encoding="utf-8")
    assert ACCOUNT not in text and "arn:aws:iam::111122223333:user/x" in text


def test_one_request_is_renewed_and_the_others_stay(copied):
    codes, calls = recorded(
        copied, copied / "small.ipynb", says(2), only="about blue", passes=[record.collect]
    )
    assert codes == [0]
    assert [call.params["messages"][0]["content"][0]["text"] for call in calls] == ["about blue"]
    expected = [f"about {colour}, version {1 + (colour == 'blue')}" for colour in QUESTIONS]
    assert sorted(texts(copied)) == sorted(expected)


def test_what_is_asked_no_more_is_pruned(copied):
    path = small(copied, [*SMALL[:2], SMALL[2].replace("'plum'", "'pink'")])
    codes, calls = recorded(copied, path, says(1), only="about pink", passes=[record.collect])
    assert codes == [0] and len(calls) == 1
    assert sorted(text.split(",")[0] for text in texts(copied)) == [
        f"about {colour}" for colour in sorted([*QUESTIONS[:4], "pink"])
    ]


def test_a_run_that_fails_leaves_file_and_notebook_as_they_were(copied, capsys):
    before = [(copied / name).read_bytes() for name in ("small.json", "small.ipynb")]
    expired = On(refused("expired"), operation="Converse", calls=after(2))
    codes, _ = recorded(copied, copied / "small.ipynb", says(2), expired, passes=[record.record])
    assert codes == [1] and "is as it was" in capsys.readouterr().out
    assert [(copied / name).read_bytes() for name in ("small.json", "small.ipynb")] == before
    assert len(Recording(copied / "small.new.json").entries) == 4  # who, two answers, and the refusal


def execute_here(path, env, preamble=""):
    """Run the cells in this process: a kernel for each of many runs would cost minutes, and it writes no file."""
    os.environ.update(env)
    settings.cache_clear()
    notebook, names = nbformat.read(path, 4), {}
    for number, cell in enumerate(notebook.cells, 1):
        with redirect_stdout(io.StringIO()) as text:
            exec(cell.source, names)
        cell.execution_count = number
        cell.outputs = [nbformat.v4.new_output("stream", text=text.getvalue())]
    return Outcome(path, notebook, len(notebook.cells), 0.0)


def record_here(path, env):
    """All of `make record`, in a process of its own."""
    os.environ.update(env)
    record.execute = execute_here
    with redirect_stdout(io.StringIO()):
        record.main(["--yes", str(path)])


@pytest.mark.skipif(sys.platform == "win32", reason="the processes are forked")
def test_a_recording_killed_at_any_moment_leaves_whole_files(first, tmp_path, report):
    random.seed(6)
    old = {name: (first / name).read_bytes() for name in ("small.json", "small.ipynb")}
    new_texts = sorted(f"about {colour}, version 2" for colour in QUESTIONS)

    def run(number, call, seconds):
        """Record anew, and kill it `seconds` after the service saw that call; what is then there."""
        folder = shutil.copytree(first, tmp_path / str(number))
        service = Service(says(2), On(slow(0.05), operation="Converse"))
        env = {**KEYS, "AWS_ENDPOINT_URL": service.url, "WORKSHOP_RECORDINGS_DIR": str(folder)}
        # Forked before the service has threads, with everything imported.
        process = get_context("fork").Process(target=record_here, args=(folder / "small.ipynb", env))
        process.start()
        with service:
            limit = time.monotonic() + 60
            while len(service.calls) < call and process.is_alive() and time.monotonic() < limit:
                time.sleep(0.005)
            time.sleep(seconds)
            process.kill()
            process.join()
        found = {name: (folder / name).read_bytes() for name in old}
        nbformat.reads(found["small.ipynb"].decode(), 4)
        if found["small.json"] == old["small.json"]:
            return "old" if found == old else "broken"
        return "new" if sorted(texts(folder)) == new_texts else "broken"

    # From the first answer on: while answers come in, while the file is replaced, while the notebook runs again.
    moments = [(random.randint(1, 6), random.uniform(0, 0.1)) for _ in range(KILLS // 2)]
    moments += [(6, random.uniform(0, 0.6)) for _ in range(KILLS - len(moments))]
    found = [run(number, *moment) for number, moment in enumerate(moments)]
    counts = f"{found.count('old')} old and {found.count('new')} new files"
    report(f"recording killed {KILLS} times: {counts}, whole")
    assert set(found) <= {"old", "new"} and "old" in found
