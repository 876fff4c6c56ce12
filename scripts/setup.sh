# Sets up what this repository's commands need. Sourced by ./dev and ./test, never run by itself.
#
# A machine that has everything is left alone: no package list is fetched, nothing is installed, no root rights are
# asked for. What is missing comes from Debian's packages, npm, PyPI and crates.io, and goes into the system (Debian)
# or into one cache folder outside the clone (the rest).

cache=${SIGNET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/signet}
cargo_deny_version=0.20.2
versitygw_version=1.8.0

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Installs Debian packages, if there are any in the arguments. Returns 1, with `reason` set, where that cannot be done.
install_packages() {
  [ $# -gt 0 ] || return 0
  local root=()
  if ! have apt-get; then
    reason="this is not Debian or one of its kin; install what these packages hold: $*"
    return 1
  fi
  if [ "$(id -u)" != 0 ]; then
    if ! have sudo; then
      reason="no root rights and no sudo; run as root: apt-get update && apt-get install $*"
      return 1
    fi
    # Without a terminal nobody could type a password: then sudo refuses instead of waiting for one.
    if [ -t 0 ]; then root=(sudo); else root=(sudo -n); fi
  fi
  say "Installing Debian packages: $*"
  # A list of packages may be stale or missing on a new machine; a failing third-party source must not stop us.
  "${root[@]}" apt-get update -q >/dev/null || say "apt-get update complained; trying to install all the same"
  if ! "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null; then
    reason="apt-get install $* failed; its message is above"
    return 1
  fi
}

have_libclang() {
  local found
  if [ -n "${LIBCLANG_PATH:-}" ] && compgen -G "$LIBCLANG_PATH*/libclang*.so*" >/dev/null; then return 0; fi
  for found in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*-linux-gnu/libclang*.so* /usr/lib64/libclang*.so* /usr/lib/libclang*.so*; do
    [ -e "$found" ] && return 0
  done
  return 1
}

# What the build needs: Rust, a C and C++ compiler (aws-lc, RocksDB), and libclang (RocksDB's bindings).
setup_build() {
  have cargo || fail "cargo is not installed. Get Rust from https://rustup.rs, then run this again."
  local want have_version missing=()
  want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$top/Cargo.toml" | head -1)
  have_version=$(rustc --version | awk '{print $2}')
  if [ "$(printf '%s\n%s\n' "$want" "${have_version%%-*}" | sort -V | head -1)" != "$want" ]; then
    fail "Rust $have_version is installed and $want or later is needed. Run: rustup update stable"
  fi
  { have cc && have c++ && have make; } || missing+=(build-essential)
  have_libclang || missing+=(libclang-dev)
  install_packages "${missing[@]}" || fail "the build cannot be set up: $reason"
}

# The formatter and the linter, which a minimal Rust lacks.
setup_rust_components() {
  local missing=()
  cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
  cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
  [ ${#missing[@]} -gt 0 ] || return 0
  have rustup || { reason="no ${missing[*]}, and no rustup to add them with"; return 1; }
  say "Adding Rust components: ${missing[*]}"
  rustup component add "${missing[@]}" || { reason="rustup component add ${missing[*]} failed"; return 1; }
}

# cargo-deny, compiled once into the cache. Leaves its path in `cargo_deny`.
setup_cargo_deny() {
  cargo_deny=$cache/tools/bin/cargo-deny
  if have cargo-deny && [ "$(cargo-deny --version)" = "cargo-deny $cargo_deny_version" ]; then
    cargo_deny=$(command -v cargo-deny)
    return 0
  fi
  [ -x "$cargo_deny" ] && [ "$("$cargo_deny" --version)" = "cargo-deny $cargo_deny_version" ] && return 0
  say "Compiling cargo-deny $cargo_deny_version into $cache/tools (once, about four minutes on two cores)"
  # Little optimisation: it runs for a second, and is compiled for minutes.
  env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --root "$cache/tools" "cargo-deny@$cargo_deny_version" ||
    { reason="cargo install cargo-deny@$cargo_deny_version failed"; return 1; }
}

# The independent programs that the interop tests run against: OpenSSL, an OpenID provider and a JOSE library on
# Node.js, a JOSE library on Python. Exports SIGNET_TEST_PEERS, the folder that holds them. The versions are pinned by
# the lock files in tests/interop/peers.
setup_peers() {
  local missing=() peers=$top/tests/interop/peers key part
  have openssl || missing+=(openssl)
  have node || missing+=(nodejs)
  have npm || missing+=(npm)
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  install_packages "${missing[@]}" || return 1
  key=$({ cat "$peers/package-lock.json" "$peers/requirements.txt"; node --version; python3 --version; } | sha256sum | cut -c1-16)
  export SIGNET_TEST_PEERS=$cache/peers/$key
  [ -e "$SIGNET_TEST_PEERS/ready" ] && { ln -sfn "$key" "$cache/peers/current"; return 0; }
  say "Installing the interop tests' peers (npm: oidc-provider, jose; PyPI: joserfc) into $SIGNET_TEST_PEERS"
  part=$SIGNET_TEST_PEERS
  rm -rf "$part" && mkdir -p "$part"
  cp "$peers/package.json" "$peers/package-lock.json" "$peers/requirements.txt" "$part/"
  (cd "$part" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) </dev/null >&2 ||
    { reason="npm ci failed; its message is above"; return 1; }
  { python3 -m venv "$part/venv" &&
    "$part/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$part/requirements.txt"; } </dev/null >&2 ||
    { reason="pip install failed; its message is above"; return 1; }
  : >"$part/ready"
  ln -sfn "$key" "$cache/peers/current"
}

# The linearizability checker that ./prove's histories are judged by, compiled once into the cache with the versions that
# tests/prove/porcupine pins. Exports SIGNET_PORCUPINE, the program's path.
setup_porcupine() {
  local source=$top/tests/prove/porcupine missing=() key
  have go || missing+=(golang-go)
  install_packages "${missing[@]}" || return 1
  key=$({ cat "$source/main.go" "$source/go.mod" "$source/go.sum"; go version; } | sha256sum | cut -c1-16)
  export SIGNET_PORCUPINE=$cache/tools/porcupine/$key
  [ -x "$SIGNET_PORCUPINE" ] && return 0
  say "Compiling porcupine, the linearizability checker, into $cache/tools"
  (cd "$source" && GOFLAGS=-mod=readonly go build -trimpath -o "$SIGNET_PORCUPINE" .) </dev/null >&2 ||
    { unset SIGNET_PORCUPINE; reason="go build of tests/prove/porcupine failed; its message is above"; return 1; }
}

# SPIRE's own command line, as far as it is about authorities: the packages of spire-server that are pinned by tests/interop/spire,
# compiled once into the cache. Exports SIGNET_SPIRE_SERVER, the program's path.
setup_spire() {
  local source=$top/tests/interop/spire missing=() key
  have go || missing+=(golang-go)
  install_packages "${missing[@]}" || return 1
  key=$({ cat "$source/main.go" "$source/go.mod" "$source/go.sum"; go version; } | sha256sum | cut -c1-16)
  export SIGNET_SPIRE_SERVER=$cache/tools/spire/$key
  [ -x "$SIGNET_SPIRE_SERVER" ] && return 0
  say "Compiling SPIRE's command line into $cache/tools (once, a minute or two)"
  (cd "$source" && GOFLAGS=-mod=readonly go build -trimpath -o "$SIGNET_SPIRE_SERVER" .) </dev/null >&2 ||
    { unset SIGNET_SPIRE_SERVER; reason="go build of tests/interop/spire failed; its message is above"; return 1; }
}

# The S3 server that backups are tested against: it checks signatures, which mocks do not. Compiled once into the cache.
# Exports SIGNET_VERSITYGW, the program's path.
setup_versitygw() {
  local missing=()
  export SIGNET_VERSITYGW=$cache/tools/versitygw-$versitygw_version/versitygw
  [ -x "$SIGNET_VERSITYGW" ] && return 0
  have go || missing+=(golang-go)
  install_packages "${missing[@]}" || { unset SIGNET_VERSITYGW; return 1; }
  say "Compiling versitygw $versitygw_version, an S3 server, into $cache/tools (once)"
  GOBIN=${SIGNET_VERSITYGW%/*} go install -trimpath "github.com/versity/versitygw/cmd/versitygw@v$versitygw_version" </dev/null >&2 ||
    { unset SIGNET_VERSITYGW; reason="go install versitygw@v$versitygw_version failed; its message is above"; return 1; }
}

# The emulator of AWS KMS, in a Python of its own. Its pins are in tests/support/localstack. Exports SIGNET_LOCALSTACK, the
# Python that has it. What is taken is the first Python on this machine that can run it: 3.13, or Debian's package of it.
setup_localstack() {
  local pins=$top/tests/support/localstack/requirements.txt folder python
  folder=$cache/tools/localstack-$(sha256sum "$pins" | cut -c1-16)
  export SIGNET_LOCALSTACK=$folder/bin/python
  [ -e "$folder/ready" ] && return 0
  if ! python=$(python_313) && have apt-cache && apt-cache show python3.13-venv >/dev/null 2>&1; then
    install_packages python3.13 python3.13-venv || { unset SIGNET_LOCALSTACK; return 1; }
    python=$(python_313) || true
  fi
  [ -n "$python" ] || { unset SIGNET_LOCALSTACK; reason="LocalStack needs Python 3.13 with venv; install it so that python3.13 is found"; return 1; }
  say "Installing LocalStack (AWS KMS emulator, PyPI) with $python into $folder"
  rm -rf "$folder"
  { "$python" -m venv "$folder" &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$pins" &&
    "$folder/bin/python" -c 'import localstack.services.kms.provider' &&
    : >"$folder/ready"; } </dev/null >&2 ||
    { unset SIGNET_LOCALSTACK; reason="LocalStack could not be installed with $python; the message is above"; return 1; }
}

# Prints the first Python 3.13 that can make virtual environments.
python_313() {
  local candidate
  for candidate in python3.13 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3 /usr/local/bin/python3.13 /opt/python*/bin/python3.13; do
    candidate=$(command -v "$candidate" 2>/dev/null) || continue
    "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || continue
    printf '%s\n' "$candidate"
    return 0
  done
  return 1
}

# The token in software that PKCS#11 is tested against. Its tests look for the module where Debian puts it.
setup_softhsm() {
  local missing=()
  { have softhsm2-util && compgen -G "/usr/lib/softhsm/libsofthsm2.so" >/dev/null; } || missing+=(softhsm2)
  install_packages "${missing[@]}"
}

# What makes hosts of namespaces on this machine.
setup_network() {
  local missing=()
  have ip || missing+=(iproute2)
  have nsenter || missing+=(util-linux)
  install_packages "${missing[@]}"
}
