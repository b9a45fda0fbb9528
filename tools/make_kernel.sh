#!/bin/sh
# Makes the workshop's own Python environment and registers it as a Jupyter kernel:
#
#     sh tools/make_kernel.sh
#
# For SageMaker (Studio JupyterLab spaces and notebook instances) and for a JupyterLab of your own. Safe to run again:
# an environment that is up to date is only registered anew, which takes seconds. Needs Python 3.11 or newer; where
# there is none, uv brings one, or conda. KERNEL_HOME names another folder for the environment, PYTHON another Python.
set -eu

NAME=claude-bedrock-workshop
TITLE="Claude on Bedrock Workshop"
PYTHON_WANTED=3.12
UV_VERSION=0.13.9
ROOT=$(cd "$(dirname "$0")/.." && pwd)

say() { printf '%s\n' "$*"; }
stop() {
    printf 'make_kernel: %s\n' "$*" >&2
    exit 1
}

# 1. Where things survive a restart: the home volume in Studio, ~/SageMaker alone on a notebook instance.
if [ -d "$HOME/SageMaker" ]; then
    PLACE=instance
    BASE=$HOME/SageMaker/.kernels
elif [ -n "${SAGEMAKER_APP_TYPE_LOWERCASE:-}" ] || [ "$HOME" = /home/sagemaker-user ]; then
    PLACE=studio
    BASE=$HOME/.kernels
else
    PLACE=own
    BASE=${XDG_DATA_HOME:-$HOME/.local/share}/workshop-kernels
fi
BASE=${KERNEL_HOME:-$BASE}
ENV=$BASE/$NAME
BIN=$ENV/bin
mkdir -p "$BASE" || stop "cannot write to $BASE. Set KERNEL_HOME to a folder that is yours."
if [ "$PLACE" = instance ]; then # the repository has to be there too: the kernel imports `helpers` from it
    case $ROOT/ in
    "$HOME/SageMaker/"*) ;;
    *) say "Note: $ROOT is lost when this notebook instance stops. Clone the workshop under ~/SageMaker." ;;
    esac
fi

# 2. A Python that is new enough, to start from.
new_enough() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
find_python() {
    for each in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
        if command -v "$each" >/dev/null 2>&1 && new_enough "$each"; then
            command -v "$each"
            return
        fi
    done
}
find_conda() {
    for each in "${CONDA_EXE:-}" conda "$HOME/anaconda3/bin/conda" /opt/conda/bin/conda; do
        if [ -n "$each" ] && command -v "$each" >/dev/null 2>&1; then
            command -v "$each"
            return
        fi
    done
}
make_environment() {
    rm -rf "$ENV"
    FOUND=$(find_python)
    # A venv of a Python that a restart may replace would break: on SageMaker the environment brings its own.
    if [ "$PLACE" = own ] && [ -n "$FOUND" ]; then
        say "Python: $FOUND"
        "$FOUND" -m venv "$ENV"
        return
    fi
    if any_python=$(command -v python3 || command -v python) && uv_python "$any_python"; then
        return
    fi
    CONDA=$(find_conda)
    if [ -n "$CONDA" ]; then
        say "Python $PYTHON_WANTED by $CONDA ..."
        "$CONDA" create --yes --quiet --prefix "$ENV" "python=$PYTHON_WANTED" pip >/dev/null && return
    fi
    if [ -n "$FOUND" ]; then
        say "Python: $FOUND"
        "$FOUND" -m venv "$ENV"
        return
    fi
    stop "no Python 3.11 or newer here, and neither uv nor conda could fetch one. Install one, or set PYTHON to its path."
}
uv_python() { # uv in a folder of its own, and the Python that it manages, both beside the environment
    "$1" -m pip install --quiet --disable-pip-version-check --target "$BASE/uv" --upgrade "uv==$UV_VERSION" \
        >/dev/null 2>&1 || return 1
    say "Python $PYTHON_WANTED by uv ..."
    UV_PYTHON_INSTALL_DIR=$BASE/python "$BASE/uv/bin/uv" venv --quiet --seed --managed-python \
        --python "$PYTHON_WANTED" "$ENV" 2>/dev/null || { rm -rf "$ENV"; return 1; }
}

# 3. The locked packages, unless exactly these are there already.
stamp() { { cat "$ROOT/requirements.lock" "$ROOT/pyproject.toml"; printf '%s\n' "$ROOT"; } | cksum; }
works() { "$BIN/python" -c 'import ipykernel, helpers' >/dev/null 2>&1; }
if [ "$(cat "$ENV/.workshop" 2>/dev/null)" = "$(stamp)" ] && works; then
    say "The environment is up to date: $ENV"
else
    [ -x "$BIN/python" ] && "$BIN/python" -c 'import pip' >/dev/null 2>&1 || make_environment
    say "Installing the packages of requirements.lock (a minute or two) ..."
    "$BIN/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
    "$BIN/python" -m uv pip install --quiet --compile-bytecode --python "$BIN/python" \
        --require-hashes -r "$ROOT/requirements.lock"
    "$BIN/python" -m uv pip install --quiet --compile-bytecode --python "$BIN/python" --no-deps --editable "$ROOT"
    stamp >"$ENV/.workshop"
fi

# 4. The kernel. Its folder is in the home directory, which a notebook instance forgets when it stops.
"$BIN/python" -m ipykernel install --user --name "$NAME" --display-name "$TITLE" >/dev/null
"$BIN/python" - <<'PYTHON' || stop "the environment is not as it should be. Remove $ENV and run this script again."
import platform, sys
from helpers import checks

found, to_do = checks._packages()  # without the documents, which take seconds
print(f"Checked: Python {platform.python_version()}, packages: {found}.")
sys.exit(f"packages: {to_do}" if to_do else None)
PYTHON

say "Kernel \"$TITLE\" is registered."
if [ "$PLACE" = instance ]; then
    say ""
    say "This notebook instance forgets its kernels when it stops; the environment stays. Run this script again then"
    say "(seconds), or put these lines into the on-start script of its lifecycle configuration. SageMaker gives such a"
    say "script five minutes, so let the first run be by hand, as now:"
    say ""
    say "    #!/bin/bash"
    say "    sudo -u ec2-user -i sh $ROOT/tools/make_kernel.sh"
fi
say ""
say "Next: open notebooks/00_setup_check.ipynb. The notebooks name the kernel \"Python 3\": choose \"$TITLE\" at the top right of each, or in the menu Kernel > Change Kernel."
