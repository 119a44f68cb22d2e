#!/bin/sh
# Installs the locked SDKs once and prints the folder they are in.
#
# The folder lies outside the source tree and is named after the content of the lock files, so a changed lock
# makes a new one. It is built under a temporary name and renamed when complete: an interrupted run leaves no
# half-filled folder, and two runs at once end with one of the two, both whole.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/countersign
hash=$({ "$python" -c 'import sys; print(sys.version_info[:2])'; node --version
    cat "$here"/requirements-*.txt "$here/package.json" "$here/package-lock.json"; } | sha256sum | cut -c1-16)
ready=$cache/interop-$hash
if [ ! -d "$ready" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "needs Python 3.10 or later" >&2; exit 2; }
    mkdir -p "$cache"
    building=$(mktemp -d "$cache/interop-building-XXXXXX")
    trap 'rm -rf "$building"' EXIT INT TERM
    for lock in "$here"/requirements-*.txt; do
        version=$(basename "$lock" .txt)
        version=${version#requirements-}
        echo "installing a2a-sdk $version" >&2
        "$python" -m venv "$building/py-$version"
        # Everything is in the lock, so nothing may be resolved.
        "$building/py-$version/bin/python" -m pip install --quiet --no-input --no-deps -r "$lock" >&2
        "$building/py-$version/bin/python" -m pip check >&2
    done
    echo "installing @a2a-js/sdk" >&2
    cp "$here/package.json" "$here/package-lock.json" "$building/"
    (cd "$building" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    # Not mv: it would move into a folder that another run has just put there.
    "$python" -c 'import os, sys; os.rename(*sys.argv[1:])' "$building" "$ready" 2>/dev/null || [ -d "$ready" ]
fi
echo "$ready"
