"""Fetching the original letters, against a server on this machine: whole and right, or not at all."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.test_letters import letter_file
from tools import fetch_letters

PDF = (fetch_letters.LETTERS / "AMZN-2022-digest.pdf").read_bytes()
NAME = "AMZN-2022-Shareholder-Letter.pdf"


class Handler(BaseHTTPRequestHandler):
    """Answers /<status>/<length>: that many bytes of the PDF, though its whole length is announced."""

    def do_GET(self):
        _, status, length = self.path.split("/")
        self.server.asked += 1
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(PDF)))
        self.end_headers()
        self.wfile.write(PDF[: int(length)])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = 0
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def run(folder, server, status=200, length=10**9, **changes):
    """The exit code, and what is left in the folder of the originals."""
    url = f"http://127.0.0.1:{server.server_port}/{status}/{length}"
    entry = {"name": NAME, "url": url, "sha256": hashlib.sha256(PDF).hexdigest(), "marks": ["Andy Jassy"]}
    (folder / "originals.json").write_text(json.dumps([entry | changes]), encoding="utf-8")
    code = fetch_letters.main(folder)
    return code, sorted(path.name for path in (folder / "originals").glob("*"))


@pytest.mark.parametrize("changes", [{}, {"sha256": None}])
def test_a_right_file_is_kept_and_not_fetched_twice(tmp_path, server, changes):
    assert run(tmp_path, server, **changes) == run(tmp_path, server, **changes) == (0, [NAME])
    assert (tmp_path / "originals" / NAME).read_bytes() == PDF and server.asked == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"sha256": None, "marks": ["Jeffrey P. Bezos"]}, "does not contain"),
        ({"length": 7000}, "no whole answer"),
        ({"status": 404}, "404"),
        ({"url": "http://127.0.0.1:9/letter.pdf"}, "online"),
    ],
)
def test_anything_else_leaves_nothing_and_one_line(tmp_path, server, capsys, changes, said):
    assert run(tmp_path, server, **changes) == (1, [])
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_wrong_file_of_the_user_is_left_alone(tmp_path, server, capsys):
    (tmp_path / "originals").mkdir()
    (tmp_path / "originals" / NAME).write_bytes(b"mine")
    assert run(tmp_path, server) == (1, [NAME]) and server.asked == 0
    assert (tmp_path / "originals" / NAME).read_bytes() == b"mine" and "delete it" in capsys.readouterr().err


def test_the_marks_of_a_letter_are_in_that_letter_and_in_no_other():
    entries = json.loads((fetch_letters.LETTERS / "originals.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in entries] == [f"AMZN-{y}-Shareholder-Letter.pdf" for y in range(2019, 2023)]
    for number in range(4):
        wrong = [fetch_letters.problem(entry | {"sha256": None}, letter_file(2019 + number)) for entry in entries]
        assert [not each for each in wrong] == [each == number for each in range(4)]
