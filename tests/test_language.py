"""What helpers say is in the catalog, and a notebook of the Chinese edition speaks Chinese."""

import ast
import re
from datetime import date

import pytest
from babel.messages.catalog import Catalog

from helpers import language, replay, workshop
from helpers.language import say
from helpers.replay.recording import Recording, RecordingMissing
from helpers.settings import ROOT, settings
from tests.test_replay import asked, entry, said
from tools import chinese
from tools.recorder import save

TWO_WORDS = re.compile(r"[A-Za-z]{2,}[,.:;]? [A-Za-z]{2,}")
# English that no learner reads in a message of ours, and why: file, how the text begins.
STAYS = {
    ("batch.py", "<div"): "HTML",
    ("batch.py", "%; height"): "HTML",
    ("/workshop.py", "<img"): "HTML",
    ("/retrieval.py", "<passage"): "a part of a prompt",
    ("language.py", "DejaVu Sans"): "a font",
    ("language.py", "Workshop Sans SC"): "a font",
    ("clients.py", "The answer to "): "an error for `explain`, which has other words for it",
    ("clients.py", " is empty."): "an error for `explain`, which has other words for it",
    ("clients.py", "per day"): "looked for in what AWS says",
    ("batch.py", "per day"): "looked for in what AWS says",
    ("knowledge_base/workshop.py", "service control policy"): "looked for in what AWS says",
    ("waiting.py", "ValidationException"): "looked for in what AWS says",
    ("explain.py", "Invalid "): "looked for in what Python says",
    ("server/__init__.py", "context|too long"): "looked for in what the server says",
    ("server/__init__.py", "Amazon Bedrock"): "a name",
    ("kinds.py", "'].["): "a query",
    ("recording.py", "a body holds"): "an error for maintainers",
    ("sandbox/__init__.py", "read group;"): "a shell script",
    ("server/checks.py", "Answer with"): "a prompt",
    ("server/checks.py", "The quick"): "a prompt",
    ("server/checks.py", "The word is"): "a prompt",
    ("server/checks.py", "\nWhich word"): "a prompt",
    ("server/checks.py", "Which colour"): "a prompt",
    ("child.py", " is refused"): "Python's error inside a model's program, which imports nothing of ours",
    ("child.py", " outside the scratch"): "Python's error inside a model's program, which imports nothing of ours",
}


def marked(tree: ast.AST) -> list[ast.Call]:
    """The calls of `say`, of the marker, and of the error that says its text."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if getattr(call.func, "id", "") in ("say", "N_", "WorkshopError")]


def literals_of(tree: ast.AST) -> set[str]:
    """The texts that these calls are given as literals: keys of tables are among them, and used elsewhere too."""
    return {call.args[0].value for call in marked(tree) if isinstance(call.args[0], ast.Constant)}


def unspoken(source: str, known: set[str]) -> list[str]:
    """Strings with two words in a row that are no docstring, in no such call, and not `known`."""
    tree = ast.parse(source)
    inside = {id(part) for call in marked(tree) for part in ast.walk(call.args[0])}
    inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    found = [node.value for node in strings if id(node) not in inside and node.value not in known]
    return [text for text in found if TWO_WORDS.search(text)]


SOURCES = {"/" + path.relative_to(ROOT / "helpers").as_posix(): path for path in (ROOT / "helpers").rglob("*.py")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}
KNOWN = {text for tree in TREES.values() for text in literals_of(tree)}


def test_every_message_is_said_and_every_word_that_is_said_is_in_the_catalog():
    used, left = set(), []
    for name, path in SOURCES.items():
        for text in unspoken(path.read_text(encoding="utf-8"), KNOWN):
            why = [each for each in STAYS if name.endswith(each[0]) and text.startswith(each[1])]
            used.update(why)
            left += [] if why else [(name, text)]
    assert left == []
    assert used == STAYS.keys()
    assert {text for text in KNOWN if text not in chinese.template("helpers", Catalog())} == set()


def test_control_what_is_not_said_is_seen():
    source = '"""A doc string."""\nsay("It is {x} there", x=f(1))\n'
    assert unspoken(source, set()) == []
    assert unspoken(source + 'print(f"{x} is not there")', set()) == [" is not there"]
    assert unspoken(source + 'say("{x}", x="not there")', set()) == ["not there"]
    assert unspoken(source + 'find("data source")', {"data source"}) == []


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    """A small catalog of its own; figures are not drawn, so no font is read."""
    monkeypatch.setattr(language, "ROOT", tmp_path)
    monkeypatch.setattr(language, "_use_font", lambda font: None)
    monkeypatch.setattr(language, "_language", "")
    (tmp_path / "locale" / "zh").mkdir(parents=True)
    (tmp_path / "locale" / "zh" / "helpers.po").write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
        'msgid "{count} found"\nmsgstr "找到 {count} 个"\n\n'
        '#, fuzzy\nmsgid "removed"\nmsgstr "旧的"\n\nmsgid "none"\nmsgstr ""\n',
        encoding="utf-8",
    )
    language._catalog.cache_clear()
    yield
    language._catalog.cache_clear()


def test_say_speaks_the_language_of_the_notebook_and_else_english(catalog):
    assert say("{count} found", count=2) == "2 found"
    language.choose("zh")
    assert say("{count} found", count=2) == "找到 2 个"
    for text in ("removed", "none", "nobody knows {it}", ""):  # stale, empty, unknown, and where the header is
        assert say(text) == text
    language.choose("")
    assert say("{count} found", count=2) == "2 found"


def retrieve(text):
    return {"knowledgeBaseId": "WORKSHOPKB", "retrievalQuery": {"text": text}}


@pytest.fixture
def editions(catalog, tmp_path, change):
    """A lesson in both editions, its recordings in tmp_path."""
    change(recordings_dir=tmp_path)
    found = {"json": {"retrievalResults": []}}
    for name, day, entries in (
        (
            "lesson",
            "2026-01-01",
            [
                entry("bedrock-runtime.Converse", asked("hello"), said("hi")),
                entry("bedrock-agent-runtime.Retrieve", retrieve("AWS"), found),
                entry("sts.GetCallerIdentity", {}, {"text": ""}, origin="api-model"),
            ],
        ),
        ("zh/lesson", "2026-02-02", [entry("bedrock-runtime.Converse", asked("你好"), said("你也好"))]),
    ):
        recording = Recording(tmp_path / "none.json")
        recording.date = day
        for each in entries:
            recording.add(each)
        (tmp_path / "zh").mkdir(exist_ok=True)
        save(recording, tmp_path / f"{name}.json")


def test_a_chinese_notebook_has_its_own_documents_and_recordings_and_shares_the_rest(editions, capsys):
    workshop.start("zh/lesson")
    assert settings().letters_dir == ROOT / "data" / "letters" / "zh"
    assert "1 from a Claude model outside Amazon Bedrock, 1 written from" in capsys.readouterr().out
    mode = replay.active()
    assert not mode._fresh and mode.today() == date(2026, 2, 2)
    for text, answer in (("你好", "你也好"), ("hello", "hi")):
        body = mode.answer("bedrock-runtime.Converse", asked(text))["body"]
        assert body["json"]["output"]["message"]["content"][0]["text"] == answer
    with pytest.raises(RecordingMissing, match=r"(?s)你好 .*hello "):
        mode.answer("bedrock-runtime.Converse", asked("再见"))
    workshop.start("lesson")
    assert language.chosen() == "" and settings().letters_dir == ROOT / "data" / "letters"
    assert replay.active().today() == date(2026, 1, 1)


def test_what_the_index_finds_in_the_english_letters_is_not_the_answer_in_the_chinese_edition(editions):
    for name, computed in (("lesson", False), ("zh/lesson", True)):
        workshop.start(name)
        replay.active().computed["bedrock-agent-runtime.Retrieve"] = lambda params: {"retrievalResults": ["own"]}
        found = replay.active().answer("bedrock-agent-runtime.Retrieve", retrieve("AWS"))["body"]["json"]
        assert found == {"retrievalResults": ["own"] if computed else []}


def test_documents_of_ones_own_are_asked_in_both_editions(editions, change, tmp_path):
    change(letters_dir=tmp_path)
    for name in ("lesson", "zh/lesson"):
        workshop.start(name)
        assert settings().letters_dir == tmp_path and replay.active()._fresh


def test_without_recordings_of_its_own_the_day_is_that_of_the_english_ones(editions, tmp_path):
    (tmp_path / "zh" / "lesson.json").unlink()
    workshop.start("zh/lesson")
    assert replay.active().today() == date(2026, 1, 1)
