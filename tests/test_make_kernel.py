"""The kernel script, with an environment that stands ready: what it registers, and what it says. No network."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from helpers.settings import ROOT

SCRIPT = ROOT / "tools" / "make_kernel.sh"
NAME = "claude-bedrock-workshop"


def prepare(base):
    """An environment whose Python is this one, stamped as up to date."""
    folder = base / NAME / "bin"
    folder.mkdir(parents=True)
    (folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python").chmod(0o755)
    content = b"".join((ROOT / name).read_bytes() for name in ("requirements.lock", "pyproject.toml"))
    stamp = subprocess.run(["cksum"], input=content + f"{ROOT}\n".encode(), capture_output=True, check=True)
    (folder.parent / ".workshop").write_bytes(stamp.stdout)


def run(home):
    left_out = ("KERNEL_HOME", "XDG_DATA_HOME", "SAGEMAKER_APP_TYPE_LOWERCASE", "JUPYTER_DATA_DIR", "PYTHON")
    env = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run(["sh", str(SCRIPT)], env=env | {"HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def kernels(home):
    found = [
        *home.glob(".local/share/jupyter/kernels/*/kernel.json"),
        *home.glob("Library/Jupyter/kernels/*/kernel.json"),
    ]
    return {path.parent.name: json.loads(path.read_text())["display_name"] for path in found}


@pytest.mark.parametrize("place", [".local/share/workshop-kernels", "SageMaker/.kernels"])
def test_registers_the_kernel_and_does_so_again_after_a_restart(tmp_path, place):
    prepare(tmp_path / place)
    for _ in range(1 + place.startswith("SageMaker")):
        said = run(tmp_path)
        assert "is up to date" in said and "Installing" not in said
        assert "packages: " in said and "Kernel > Change Kernel" in said.splitlines()[-1]
        assert kernels(tmp_path) == {NAME: "Claude on Bedrock Workshop"}
        assert ("lifecycle configuration" in said) == place.startswith("SageMaker")
        for folder in (".local/share/jupyter", "Library"):  # what a notebook instance forgets
            shutil.rmtree(tmp_path / folder, ignore_errors=True)
