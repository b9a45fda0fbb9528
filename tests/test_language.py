"""What helpers say is in the catalog, and a notebook of the Chinese edition speaks Chinese."""

import ast
import re
from datetime import date
from types import SimpleNamespace

import pytest
from babel.messages.catalog import Catalog

from helpers import language, replay, workshop
from helpers.language import say
from helpers.replay.recording import RecordingMissing
from helpers.settings import ROOT, settings
from tests.test_replay import asked, entry, said, store
from tools import chinese

TWO_WORDS = re.compile(r"[A-Za-z]{2,}[,.:;]? [A-Za-z]{2,}")
# How English begins that no learner reads in a message of ours.
STAYS = ("<div", "%; height", "<img", "<passage", "'].[", "read group;", "DejaVu Sans", "Workshop Sans SC")  # no prose
STAYS += ("per day", "ValidationException", "service control policy", "context|too long")  # looked for in others' words
STAYS += ("The answer to ", " is empty.", "a body holds", "Amazon Bedrock")  # said in other words; for maintainers
STAYS += (" is refused", " outside the scratch")  # in a model's program, which imports nothing of ours
STAYS += ("Answer with", "The quick", "The word is", "\nWhich word", "Which colour")  # prompts


def unspoken(source, known):
    """Strings with two words in a row that are no docstring, are not said, and not `known` from another place."""
    inside, found = set(), []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr):
            inside.add(node.value)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("say", "N_", "WorkshopError"):
            inside.update(ast.walk(node.args[0]))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and TWO_WORDS.search(node.value):
            found.append(node)
    return [node.value for node in found if node not in inside and node.value not in known]


def test_every_message_is_said():
    known = {message.id for message in chinese.template("helpers", Catalog())}
    assert len(known) > 150
    texts = [text for path in (ROOT / "helpers").rglob("*.py") for text in unspoken(path.read_text("utf-8"), known)]
    assert [text for text in texts if not text.startswith(STAYS)] == []
    assert [begin for begin in STAYS if not any(text.startswith(begin) for text in texts)] == []  # no more there


def test_control_what_is_not_said_is_seen():
    source = '"""A doc string."""\nsay("It is {x} there", x="not there")\nfind("data source", f"{x} is not here")'
    assert unspoken(source, {"data source"}) == ["not there", " is not here"]


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
    for edition, told in (("", "2 found"), ("zh", "找到 2 个"), ("", "2 found")):
        language.choose(edition)
        assert say("{count} found", count=2) == told
        for text in ("removed", "none", "nobody knows {it}", ""):  # stale, empty, unknown, and where the header is
            assert say(text) == text


def retrieve(text):
    return {"knowledgeBaseId": "WORKSHOPKB", "retrievalQuery": {"text": text}}


@pytest.fixture
def editions(catalog, tmp_path, change):
    """A lesson in both editions, its recordings in tmp_path."""
    change(recordings_dir=tmp_path)
    store(
        tmp_path / "lesson.json",
        entry("bedrock-runtime.Converse", asked("hello"), said("hi")),
        entry("bedrock-agent-runtime.Retrieve", retrieve("AWS"), {"json": {"retrievalResults": []}}),
        entry("sts.GetCallerIdentity", {}, {"text": ""}, origin="api-model"),
        date="2026-01-01",
    )
    (tmp_path / "zh").mkdir()
    own = entry("bedrock-runtime.Converse", asked("你好"), said("你也好"))
    store(tmp_path / "zh" / "lesson.json", own, date="2026-02-02")


def test_a_chinese_notebook_has_its_own_documents_and_recordings_and_shares_the_rest(editions, capsys, tmp_path):
    workshop.start("zh/lesson")
    assert settings().letters_dir == ROOT / "data" / "letters" / "zh"
    assert "1 from a Claude model outside Amazon Bedrock, 1 written from" in capsys.readouterr().out
    mode = replay.active()
    assert mode.today() == date(2026, 2, 2)
    for text, answer in (("你好", "你也好"), ("hello", "hi")):
        assert mode.answer("bedrock-runtime.Converse", asked(text))["body"] == said(answer)
    with pytest.raises(RecordingMissing, match=r"(?s)你好 .*hello "):
        mode.answer("bedrock-runtime.Converse", asked("再见"))
    for name in ("lesson", "zh/lesson"):
        (tmp_path / "zh" / "lesson.json").unlink(missing_ok=True)  # then the day is that of the English one
        workshop.start(name)
        assert replay.active().today() == date(2026, 1, 1)


def test_each_edition_and_each_folder_of_ones_own_has_its_own_passages(editions, change, monkeypatch, tmp_path):
    index = SimpleNamespace(retrieve=lambda params: {"retrievalResults": ["found"]})
    monkeypatch.setattr("helpers.replay.index.open_index", lambda folder: index)
    own = {"letters_dir": tmp_path}
    for name, documents, found in (("lesson", {}, []), ("zh/lesson", {}, ["found"]), ("lesson", own, ["found"])):
        change(**documents)
        workshop.start(name)
        answer = replay.active().answer("bedrock-agent-runtime.Retrieve", retrieve("AWS"))
        assert answer["body"]["json"] == {"retrievalResults": found}  # the recording, of the English ones, has none
