#!/bin/sh
# Makes the project's Python environment, .venv, from the lock files; does nothing where it is up to date.
#
#     sh tools/make_env.sh [dev]     # dev: with what maintainers need; PYTHON names the Python to start from
#
# What is there counts only with the stamp that a finished run leaves. A half-made .venv, one of another Python or of
# another folder, and a file of that name are made anew.
set -eu
cd "$(dirname "$0")/.."
WHAT=${1:-run}
PYTHON=${PYTHON:-python3}
UV_VERSION=0.13.9
BIN=.venv/bin
LOCK=.venv.making

stop() {
    printf '%s\n' "$*" >&2
    exit 1
}
stamp() { # of this folder, and of the files that $1 is made from
    case $1 in dev) FILES="requirements.lock requirements-dev.lock pyproject.toml" ;; *) FILES="requirements.lock pyproject.toml" ;; esac
    { pwd -P && cat $FILES; } | cksum
}
is_current() { [ "$(cat ".venv/.$1" 2>/dev/null)" = "$(stamp "$1")" ] && "$BIN/python" -c '' 2>/dev/null; }

is_current "$WHAT" && exit 0
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    stop "Python 3.11 or newer is needed; $PYTHON is $("$PYTHON" --version 2>&1 || true). Try: make run PYTHON=python3.12"

# One at a time: a second first run waits for the first. A lock whose process is gone, or that gets no pid, is of no run.
SAID=
NO_PID=0
while ! mkdir "$LOCK" 2>/dev/null; do
    [ -d "$LOCK" ] || stop "This folder cannot be written: $(pwd)"
    OWNER=$(cat "$LOCK/pid" 2>/dev/null || true)
    if [ -n "$OWNER" ]; then NO_PID=0; else NO_PID=$((NO_PID + 1)); fi
    if [ "$NO_PID" -gt 5 ] || { [ -n "$OWNER" ] && ! kill -0 "$OWNER" 2>/dev/null; }; then
        rm -rf "$LOCK"
        NO_PID=0
        continue
    fi
    [ "$SAID" ] || printf '%s\n' "Waiting for another run that makes .venv (process ${OWNER:-?}). If there is none: rm -r $LOCK" >&2
    SAID=yes
    sleep 1
done
trap 'rm -rf "$LOCK"' EXIT
trap 'exit 130' INT TERM HUP
echo $$ >"$LOCK/pid"
is_current "$WHAT" && exit 0

mkdir -p "${HOME:-/nowhere}" 2>/dev/null && [ -w "${HOME:-/nowhere}" ] || export UV_CACHE_DIR="$PWD/build/uv-cache"
if ! { is_current run || { [ "$(sed -n 2p .venv/.place 2>/dev/null)" = "$(pwd -P)" ] && "$BIN/python" -m uv --version; }; } >/dev/null 2>&1; then
    rm -rf .venv
    "$PYTHON" -m venv .venv || stop "Python's venv module is missing or broken (Debian, Ubuntu: apt install python3-venv)."
    "$BIN/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
    printf 'made for\n%s\n' "$(pwd -P)" >.venv/.place
fi
install() { "$BIN/python" -m uv pip install --quiet --compile-bytecode --python "$BIN/python" "$@"; }
if ! is_current run; then
    install --require-hashes -r requirements.lock
    install --no-deps --editable .
    stamp run >.venv/.run
fi
if [ "$WHAT" = dev ]; then
    install --require-hashes -r requirements-dev.lock
    stamp dev >.venv/.dev
fi
