"""Fetching the original letters: whole and right, or not at all."""

import hashlib
import json

import pytest

from tools import fetch_letters

LETTER = fetch_letters.LETTERS / "AMZN-2022-digest.pdf"
PDF = LETTER.read_bytes()
NAME = "AMZN-2022-Shareholder-Letter.pdf"


@pytest.fixture
def fetched(tmp_path):
    """Fetch: what is said to be wrong, and what is left in the folder of the originals."""

    def run(**changes):
        entry = {"name": NAME, "url": LETTER.as_uri(), "sha256": hashlib.sha256(PDF).hexdigest()}
        entries = [entry | {"marks": ["Andy Jassy"]} | changes]
        (tmp_path / "originals.json").write_text(json.dumps(entries), encoding="utf-8")
        said = fetch_letters.main(tmp_path)
        return said, {path.name: path.read_bytes() for path in (tmp_path / "originals").glob("*")}

    return run


def test_a_right_file_is_kept_and_not_fetched_twice(fetched):
    assert fetched() == (None, {NAME: PDF})
    assert fetched(url="http://127.0.0.1:9/nobody", sha256=None) == (None, {NAME: PDF})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"sha256": None, "marks": ["Jeffrey P. Bezos"]}, "does not contain"),
        ({"url": "http://127.0.0.1:9/letter.pdf"}, "online"),
    ],
)
def test_anything_else_leaves_nothing_and_one_line(fetched, changes, said):
    line, left = fetched(**changes)
    assert said in line and "\n" not in line and left == {}


def test_a_wrong_file_of_the_user_is_left_alone(fetched, tmp_path):
    (tmp_path / "originals").mkdir()
    (tmp_path / "originals" / NAME).write_bytes(b"mine")
    line, left = fetched()
    assert "delete it" in line and left == {NAME: b"mine"}
