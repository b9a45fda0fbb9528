"""How often the offline index finds the answer in the real letters: hit@1 and hit@5 on our questions."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.replay.index import Index, open_index

ROOT = Path(__file__).resolve().parents[1]
LETTERS = Path(os.environ.get("WORKSHOP_LETTERS_DIR") or ROOT.parent / "shared" / "letters")
QUESTIONS: list[dict[str, Any]] = json.loads(
    (ROOT / "tests" / "questions_real_letters.json").read_text(encoding="utf-8")
)
FLOOR = 0.90


@pytest.fixture(scope="module")
def index() -> Index:
    missing = [name for name in {row["file"] for row in QUESTIONS} if not (LETTERS / name).is_file()]
    if missing:
        pytest.skip(f"the real letters are not in {LETTERS} (make letters, or WORKSHOP_LETTERS_DIR)")
    return open_index(LETTERS)


def _found(index: Index, row: dict[str, Any]) -> list[bool]:
    """For each of the first five passages, whether it is of the right file and page and holds the key."""
    answer = index.retrieve({"knowledgeBaseId": "ABCDEFGHIJ", "retrievalQuery": {"text": row["question"]}})
    return [
        result["location"]["s3Location"]["uri"].endswith("/" + row["file"])
        and result["metadata"]["x-amz-bedrock-kb-document-page-number"] + 1 in row["pages"]
        and row["key"].casefold() in result["content"]["text"].casefold()
        for result in answer["retrievalResults"]
    ]


def test_the_list_is_sound(index: Index) -> None:
    """Each key is on its page, so that a miss is the index's; keys are figures or names, not sentences."""
    assert len({row["question"] for row in QUESTIONS}) == len(QUESTIONS) >= 40
    on_page: dict[tuple[str, int], str] = {}
    for hit in index._hits:
        data = hit["metadata"]
        place = Path(data["x-amz-bedrock-kb-source-uri"]).name, data["x-amz-bedrock-kb-document-page-number"] + 1
        on_page[place] = on_page.get(place, "") + " " + hit["content"]["text"].casefold()
    for row in QUESTIONS:
        assert len(row["key"].split()) <= 4, row
        assert all(row["key"].casefold() in on_page[row["file"], page] for page in row["pages"]), row


def test_hit_at_5_of_the_default_search(index: Index, report: Callable[[str], None]) -> None:
    found = [(row["set"], _found(index, row)) for row in QUESTIONS]
    for part in ("development", "held_out", "all"):
        rows = [row for kind, row in found if part in (kind, "all")]
        first, five = (sum(any(row[:most]) for row in rows) / len(rows) for most in (1, 5))
        report(f"real letters, {part:11} {len(rows):3} questions  hit@1 {first:.3f}  hit@5 {five:.3f}")
    assert five >= FLOOR
