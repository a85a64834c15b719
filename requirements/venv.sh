#!/bin/sh
# Make a fresh virtual environment in the folder named, with $PYTHON or else the first Python 3.11 or newer on the PATH.
set -eu

folder=$1

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
    new_enough "$PYTHON" || { echo "banditd needs Python 3.11 or newer; PYTHON=$PYTHON is not that." >&2; exit 1; }
else
    for PYTHON in python3.11 python3 python3.12 python3.13 python3.14 ''; do
        if [ -n "$PYTHON" ] && new_enough "$PYTHON"; then break; fi
    done
    if [ -z "$PYTHON" ]; then
        echo 'banditd needs Python 3.11 or newer, and none is on the PATH.' >&2
        echo 'Debian and Ubuntu: apt-get install python3 python3-venv. Elsewhere: make PYTHON=/path/to/python3.11' >&2
        exit 1
    fi
fi

# Debian packs ensurepip, without which no environment gets its pip, apart from Python.
if ! "$PYTHON" -c 'import ensurepip' 2>/dev/null; then
    package=$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing $package ..."
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update && apt-get install --yes --no-install-recommends "$package"; } >/dev/null
    else
        echo "$PYTHON cannot make virtual environments yet. Debian and Ubuntu: sudo apt-get install $package" >&2
        exit 1
    fi
fi

"$PYTHON" -m venv --clear "$folder"
