#!/bin/sh
# The install steps of the image, apart from the Dockerfile so that they can be run and tested in any root file system:
#
#   install.sh dependencies   weakbox's dependencies and all its extras, as constraints.txt pins them; reads pyproject.toml too
#   install.sh weakbox        weakbox itself, its command on PATH, its user
#
# Run as root in the folder of these files; needs Python 3.11 or newer with its venv module.
# PIP_*, UV_* and SSL_CERT_FILE of the environment say where packages come from.
set -eu

venv=/opt/weakbox
step=${1:-}

# In a build these variables may also come from a secret, which stays in no layer.
if [ -f /run/secrets/registry ]; then
    set -a
    # shellcheck source=/dev/null
    . /run/secrets/registry
    set +a
fi
# As in the Makefile: with several indexes, the pinned version may be in any of them.
export UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY:-unsafe-best-match}" UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"

# uv is in a temporary folder that is removed afterwards, so that each layer holds only what uv installed. Byte code is
# compiled here because the user of the image may not write it.
uv_install() {
    tools=$(mktemp -d)
    trap 'rm -rf "$tools"' EXIT
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check --constraint constraints.txt uv
    TMPDIR=$tools "$tools/bin/uv" pip install --no-cache --compile-bytecode --python "$venv/bin/python" \
        --constraint constraints.txt --build-constraint constraints.txt "$@"
    rm -f "$venv/.lock"  # made by uv, writable by all
}

case $step in
dependencies)
    python3 -m venv --without-pip "$venv"
    uv_install --requirement pyproject.toml --extra all
    ;;
weakbox)
    uv_install --no-deps .
    rm -rf build ./*.egg-info
    # The image's ENV sets PATH as well, but a login shell resets it.
    echo "PATH=$venv/bin:\$PATH" >/etc/profile.d/weakbox.sh
    useradd --uid 1000 --create-home --shell /bin/bash weakbox
    # Commands of the README name the ready configs by this path. For Python, the installed package `jobs` takes
    # precedence over this folder, which has no __init__.py.
    mkdir /home/weakbox/jobs
    cp -R jobs/configs /home/weakbox/jobs/
    # A volume mounted here inherits this folder's owner, so that the user can write to it.
    install -d -o weakbox -g weakbox /data
    ;;
*)
    echo "usage: install.sh dependencies | weakbox" >&2
    exit 2
    ;;
esac
