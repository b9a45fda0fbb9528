"""The browser of the browser test: find Chromium, and install Debian's where it is absent: python -m tools.browser

The test fails without one where CI or REQUIRE_BROWSER is set, and is skipped elsewhere.
"""

import os
import shutil
import subprocess
from contextlib import suppress

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
REASON = "no Chromium here: install it (Debian: apt-get install chromium fonts-noto-cjk), or set CHROMIUM to its path"


def find() -> str:
    """The path of a Chromium or Chrome that starts; empty if there is none. CHROMIUM names another one."""
    for path in filter(None, [os.environ.get("CHROMIUM"), *map(shutil.which, (*NAMES, MACOS))]):
        with suppress(OSError, subprocess.TimeoutExpired):  # Ubuntu's package only points to a snap
            if subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0:
                return path
    return ""


def main() -> None:
    """Make sure of a browser, if this is Debian and it may be done with no question; what apt-get says is shown."""
    if not find() and shutil.which("apt-get"):
        print("Installing Chromium for the browser test ...", flush=True)
        sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
        for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium", "fonts-noto-cjk"]):
            subprocess.run([*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", *command])
    print(find() or REASON)


if __name__ == "__main__":
    main()
