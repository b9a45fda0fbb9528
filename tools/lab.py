"""JupyterLab on the notebooks, with everything off that asks servers on the network: news, updates, extensions.

python -m tools.lab [option of JupyterLab ...]
"""

import subprocess
import sys

from helpers.settings import ROOT

QUIET = (
    "--LabApp.news_url=None",
    f"--LabApp.app_settings_dir={ROOT / 'tools' / 'lab_settings'}",  # long lines wrap; it never asks about news
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)


def command(*options: str) -> list[str]:
    """The command that starts JupyterLab of this environment with `options`."""
    return [sys.executable, "-m", "jupyterlab", *QUIET, *options]


if __name__ == "__main__":
    first = ["--ServerApp.root_dir=.", "notebooks/00_setup_check.ipynb"]
    try:
        sys.exit(subprocess.run(command(*first, *sys.argv[1:]), cwd=ROOT).returncode)
    except KeyboardInterrupt:  # Ctrl-C is how one leaves; JupyterLab has said goodbye itself
        sys.exit(0)
