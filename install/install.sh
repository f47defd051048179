#!/usr/bin/env bash
# Installs a bundle without a network: checks every part, joins them, and installs the wheels.
#
#     ./install.sh [VENV]          VENV: the folder of the virtual environment; default: .venv
#     PYTHON=/path/to/python ./install.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${1:-.venv}
built_for=$(<"$here/FOR")
python=${PYTHON:-python${built_for%% *}}

fail() {
  echo "error: $1" >&2
  exit 2
}

this=$("$python" -c 'import sys, sysconfig; print("%d.%d" % sys.version_info[:2], sysconfig.get_platform())' 2> /dev/null) ||
  fail "PYTHON=$python: does not run; this bundle is for Python $built_for: name one, e.g. PYTHON=/usr/bin/python${built_for%% *}"
[ "$this" = "$built_for" ] ||
  fail "PYTHON=$python: is Python $this; this bundle is for Python $built_for: name another one"

# sha256sum also names a part that is not there.
bad=$(cd "$here" && sha256sum --check --quiet SHA256SUMS 2> /dev/null | sed 's/: .*//' | tr '\n' ' ') || true
[ -z "$bad" ] || fail "$here: not as it was made: ${bad% }; copy these parts again"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/unigrpo-wheels.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
sed 's/^[0-9a-f]*  //' "$here/SHA256SUMS" | (cd "$here" && xargs cat) | tar --extract --directory "$scratch"

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links "$scratch" "$(<"$here/WHAT")"
echo "installed $(<"$here/WHAT") into $venv"
