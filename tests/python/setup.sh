#!/usr/bin/env bash
# Makes virtual environments for the tests that need Python: one for each line of the official SDK
# that clients use, and one that drives a browser.
#   sdk1  anthropic 1.x: the key in x-api-key, anthropic-version 2023-06-01
#   sdk2  anthropic 2.x: the key in authorization, anthropic-version 2026-10-21
#   browser  playwright, where Chromium is installed: for the pages of simulations
# They stand in target/python/ (or the folder given); what is there is left alone. A failure leaves
# nothing half made.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-"${CARGO_TARGET_DIR:-$root/target}/python"}

python=$(command -v python3) || { echo "there is no python3" >&2; exit 1; }

make_environment() {
    local name=$1 requirement=$2
    local place=$folder/$name
    [ -e "$place/ready" ] && return 0
    rm -rf "$place"
    if "$python" -m venv "$place" \
        && "$place/bin/python" -m pip install --quiet --retries 1 \
            --disable-pip-version-check "$requirement"; then
        touch "$place/ready"
    else
        rm -rf "$place"
        echo "cannot install \"$requirement\" into $place: it needs venv, pip and a package index" >&2
        return 1
    fi
}

mkdir -p "$folder"
failed=0
make_environment sdk1 "anthropic>=1,<2" || failed=1
make_environment sdk2 "anthropic>=2,<3" || failed=1
if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then
    make_environment browser "playwright>=1.40,<2" || failed=1
fi
exit $failed
