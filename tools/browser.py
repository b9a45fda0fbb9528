"""The browser of the browser test: find Chromium, and install Debian's where it is absent.

    python -m tools.browser        installs what is missing; the exit code is 1 only if a browser is required

A browser is required where CI or REQUIRE_BROWSER is set: there the test fails without one, elsewhere it is skipped.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
REASON = "no Chromium here: install it (Debian: apt-get install chromium fonts-noto-cjk), or set CHROMIUM to its path"


def find() -> str:
    """The path of a Chromium or Chrome that starts; empty if there is none. CHROMIUM names another one."""
    for path in filter(None, [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES), *PLACES]):
        with suppress(OSError, subprocess.TimeoutExpired):  # Ubuntu's package only points to a snap
            if subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0:
                return path
    return ""


def required() -> bool:
    """Whether the test must not be skipped."""
    return any(os.environ.get(name, "").lower() not in ("", "0", "false") for name in ("CI", "REQUIRE_BROWSER"))


def install() -> str:
    """Install Debian's Chromium, if this is Debian and it may be done with no question; why not, otherwise."""
    if not shutil.which("apt-get"):
        return "there is no apt-get here"
    sudo = "" if os.getuid() == 0 else "sudo -n "
    for command in ("update", "install --yes --no-install-recommends chromium fonts-noto-cjk"):
        asked = f"{sudo}env DEBIAN_FRONTEND=noninteractive apt-get -qq {command}"
        done = subprocess.run(asked, shell=True, capture_output=True, text=True)
        if done.returncode:
            return f"`{asked}` failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}"
    return ""


def main() -> int:
    """Make sure of a browser, and say in a line what came out."""
    if find():
        return 0
    print("Installing Chromium for the browser test ...", flush=True)
    problem = install()
    if found := find():
        print(f"Chromium: {found}")
        return 0
    print(f"{REASON}. ({problem or 'what apt-get installed does not start'})", file=sys.stderr)
    return int(required())


if __name__ == "__main__":
    sys.exit(main())
