"""Fetching the original letters, against an HTTP server on 127.0.0.1."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
LETTERS = ROOT / "data" / "letters"
PDF = (LETTERS / "AMZN-2022-digest.pdf").read_bytes()
NAME = "AMZN-2022-Shareholder-Letter.pdf"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


fetch_letters = _load("fetch_letters")


class Server(ThreadingHTTPServer):
    """Serves `body`; `ranges` off ignores Range, `cut` ends the answer after that many bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.ranges, self.cut, self.status = PDF, True, len(PDF), 200
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/letter.pdf"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        body, start = self.server.body, 0
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        if asked and self.server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : self.server.cut])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def write_list(folder: Path, address: str, **changes: Any) -> None:
    entry = {
        "name": NAME,
        "url": address,
        "bytes": len(PDF),
        "sha256": hashlib.sha256(PDF).hexdigest(),
        "marks": ["Andy Jassy", "27,000"],
    }
    (folder / "originals.json").write_text(json.dumps([{**entry, **changes}]), encoding="utf-8")


def run(folder: Path, *argv: str) -> int:
    code = fetch_letters.main(list(argv), letters=folder)
    assert isinstance(code, int)
    return code


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "originals").glob("*"))


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err.strip()
    lines = [line for line in error.splitlines() if NAME in line or "cannot" in line]
    assert len(lines) == 1 and "Traceback" not in error, error
    return lines[0]


def start_part(folder: Path, content: bytes) -> None:
    (folder / "originals").mkdir()
    (folder / "originals" / f"{NAME}.part").write_bytes(content)


def test_full_download_then_nothing_to_do(tmp_path: Path, server: Server) -> None:
    write_list(tmp_path, server.url)
    assert run(tmp_path) == 0
    assert (tmp_path / "originals" / NAME).read_bytes() == PDF
    assert run(tmp_path) == 0
    assert server.asked == [None]
    assert left(tmp_path) == [NAME]


def test_resumes_where_the_part_ends(tmp_path: Path, server: Server) -> None:
    write_list(tmp_path, server.url)
    start_part(tmp_path, PDF[:5000])
    assert run(tmp_path) == 0
    assert server.asked == ["bytes=5000-"]
    assert (tmp_path / "originals" / NAME).read_bytes() == PDF
    assert left(tmp_path) == [NAME]


def test_connection_cut_keeps_the_part_and_the_next_run_ends_it(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    write_list(tmp_path, server.url)
    server.cut = 7000
    assert run(tmp_path) == 1
    assert "to continue" in one_line(capsys)
    assert left(tmp_path) == [f"{NAME}.part"]
    server.cut = len(PDF)
    assert run(tmp_path) == 0
    assert server.asked == [None, "bytes=7000-"]
    assert left(tmp_path) == [NAME]


def test_server_that_ignores_range_starts_over(tmp_path: Path, server: Server) -> None:
    write_list(tmp_path, server.url)
    server.ranges = False
    start_part(tmp_path, PDF[:5000])
    assert run(tmp_path) == 0
    assert server.asked == ["bytes=5000-"]
    assert (tmp_path / "originals" / NAME).read_bytes() == PDF


@pytest.mark.parametrize("part", [PDF, PDF + b"more"])
def test_part_as_long_as_the_file_or_longer(tmp_path: Path, server: Server, part: bytes) -> None:
    write_list(tmp_path, server.url)
    start_part(tmp_path, part)
    assert run(tmp_path) == 0
    assert (tmp_path / "originals" / NAME).read_bytes() == PDF


def test_part_of_another_file_is_fetched_afresh(tmp_path: Path, server: Server) -> None:
    write_list(tmp_path, server.url)
    start_part(tmp_path, b"x" * 5000)
    assert run(tmp_path) == 0
    assert server.asked == ["bytes=5000-", None]
    assert (tmp_path / "originals" / NAME).read_bytes() == PDF


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"bytes": 1}, "instead of 1"),
        ({"bytes": None, "sha256": None, "marks": ["Jeffrey P. Bezos"]}, "does not contain"),
    ],
)
def test_wrong_file_is_not_kept(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], says: str
) -> None:
    write_list(tmp_path, server.url, **changes)
    assert run(tmp_path) == 1
    assert says in one_line(capsys)
    assert left(tmp_path) == []


def test_wrong_file_of_the_user_is_named_and_left_alone(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    write_list(tmp_path, server.url)
    (tmp_path / "originals").mkdir()
    (tmp_path / "originals" / NAME).write_bytes(b"mine")
    assert run(tmp_path) == 1
    assert "Delete it" in one_line(capsys)
    assert (tmp_path / "originals" / NAME).read_bytes() == b"mine"
    assert server.asked == []


def test_unconfirmed_file_is_checked_by_its_text_and_can_be_recorded(tmp_path: Path, server: Server) -> None:
    write_list(tmp_path, server.url, bytes=None, sha256=None)
    assert run(tmp_path) == 0
    assert run(tmp_path, "--record") == 0
    (entry,) = json.loads((tmp_path / "originals.json").read_text(encoding="utf-8"))
    assert (entry["bytes"], entry["sha256"]) == (len(PDF), hashlib.sha256(PDF).hexdigest())
    assert run(tmp_path) == 0


def test_web_page_instead_of_a_pdf_is_refused(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    write_list(tmp_path, server.url, bytes=None, sha256=None)
    server.body = b"<html>Andy Jassy 27,000</html>"
    assert run(tmp_path) == 1
    assert "not a readable PDF" in one_line(capsys)
    assert left(tmp_path) == []


def test_offline_is_one_clear_line(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    write_list(tmp_path, server.url)
    server.shutdown()
    server.server_close()
    assert run(tmp_path) == 1
    line = one_line(capsys)
    assert "cannot reach 127.0.0.1" in line and "`make letters`" in line
    assert not (tmp_path / "originals").exists()


def test_folder_that_cannot_be_made_is_not_blamed_on_the_network(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    write_list(tmp_path, server.url)
    (tmp_path / "originals").write_text("a file where the folder should be", encoding="utf-8")
    assert run(tmp_path) == 1
    assert "cannot be written" in one_line(capsys)


def test_missing_page_names_the_status(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    write_list(tmp_path, server.url)
    server.status = 404
    assert run(tmp_path) == 1
    assert "404" in one_line(capsys)


def test_proxy_settings_do_not_apply_to_loopback(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    write_list(tmp_path, server.url)
    assert run(tmp_path) == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": "http://example.com/a.pdf"}, "https://"),
        ({"name": "../a.pdf"}, "plain file name"),
        ({"sha256": None}, "neither"),
        ({"bytes": None, "sha256": None, "marks": []}, "marks"),
    ],
)
def test_unusable_list_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], says: str
) -> None:
    write_list(tmp_path, "https://example.com/a.pdf", **changes)
    assert run(tmp_path) == 1
    assert says in capsys.readouterr().err


def test_broken_list_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "originals.json").write_text("[", encoding="utf-8")
    assert run(tmp_path) == 1
    assert "restore it" in one_line(capsys)


def test_committed_list_names_the_four_letters() -> None:
    entries = fetch_letters.read_list(LETTERS / "originals.json")
    assert [e.name for e in entries] == [f"AMZN-{y}-Shareholder-Letter.pdf" for y in range(2019, 2023)]


@pytest.mark.parametrize("year", range(2019, 2023))
def test_marks_are_in_that_letter_and_in_no_other(year: int) -> None:
    named = os.environ.get("WORKSHOP_LETTERS_DIR")
    folder = Path(named) if named else ROOT.parent / "shared" / "letters"
    entries = fetch_letters.read_list(LETTERS / "originals.json")
    if not all((folder / entry.name).is_file() for entry in entries):
        pytest.skip("needs the four real letters: set WORKSHOP_LETTERS_DIR to a folder that holds them")
    unconfirmed = [fetch_letters.replace(entry, bytes=None, sha256=None) for entry in entries]
    right = [str(year) in entry.name for entry in entries]
    path = folder / entries[right.index(True)].name
    assert [fetch_letters.problem(entry, path) is None for entry in unconfirmed] == right
