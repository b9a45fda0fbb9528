"""JupyterLab on the notebooks, with everything off that asks servers on the network: news, updates, extensions."""

import subprocess
import sys
from contextlib import suppress

from helpers.settings import ROOT

COMMAND = (
    *(sys.executable, "-m", "jupyterlab"),
    "--LabApp.news_url=None",
    f"--LabApp.app_settings_dir={ROOT / 'tools' / 'lab_settings'}",  # long lines wrap; it never asks about news
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)


def main() -> int:
    """Run to the end, which Ctrl-C does not decide: JupyterLab gets it too, and asks whether to shut down."""
    process = subprocess.Popen([*COMMAND, "--ServerApp.root_dir=.", "notebooks/00_setup_check.ipynb"], cwd=ROOT)
    while True:
        with suppress(KeyboardInterrupt):
            return process.wait()


if __name__ == "__main__":
    sys.exit(main())
