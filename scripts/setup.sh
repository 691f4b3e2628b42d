#!/usr/bin/env bash
# Installs what a build needs and is missing, and for `setup.sh tests` what the tests need beside
# that (a browser); says nothing more than one line when nothing is.
# On Debian and its kin it uses apt-get, as root or through sudo; elsewhere it says what to install.
set -euo pipefail

readonly RUST_NEEDED=88 # the minor version in rust-version of Cargo.toml: 1.88

have() { command -v "$1" >/dev/null 2>&1; }

# bindgen loads libclang at build time; the compiler driver alone is not enough, nor is the library
# for C++ (libclang-cpp), which Debian's LLVM packages bring along.
have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    local folder
    for folder in '/usr/lib/llvm-*/lib' '/usr/lib/*' '/usr/lib*'; do
        compgen -G "$folder/libclang.so*" >/dev/null && return 0
        compgen -G "$folder/libclang-[0-9]*.so*" >/dev/null && return 0
    done
    compgen -G '/Library/Developer/CommandLineTools/usr/lib/libclang.dylib' >/dev/null && return 0
    compgen -G '/Applications/Xcode.app/Contents/Developer/Toolchains/*/usr/lib/libclang.dylib' \
        >/dev/null
}

check_rust() {
    if ! have cargo; then
        echo "setup: cargo is missing: install Rust 1.$RUST_NEEDED or newer with rustup" >&2
        exit 1
    fi
    local minor
    minor=$(cargo --version | sed -E 's/^cargo 1\.([0-9]+)\..*/\1/')
    if ! [ "$minor" -ge "$RUST_NEEDED" ] 2>/dev/null; then
        echo "setup: $(cargo --version) is too old: run \`rustup update\`" >&2
        exit 1
    fi
}

# Debian names of the missing packages, one a line.
missing_packages() {
    have cmake || echo cmake
    have c++ || echo g++
    have_libclang || echo libclang-dev
    have pkg-config || echo pkg-config
    have python3 || echo python3
    python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || echo python3-venv
    if [ "${1:-}" = tests ]; then
        # They must be of one version, which Debian sees to.
        have chromium || have chromium-browser || have google-chrome || echo chromium
        have chromedriver || echo chromium-driver
    fi
}

install_packages() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! have sudo; then
            echo "setup: not root and no sudo: ask for apt-get install $*" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "setup: installing $*"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y "$@"
}

check_rust
mapfile -t missing < <(missing_packages "${1:-}")
if [ "${#missing[@]}" -eq 0 ]; then
    echo "setup: everything is here"
elif have apt-get; then
    install_packages "${missing[@]}"
else
    echo "setup: please install what Debian calls: ${missing[*]}" >&2
    exit 1
fi
