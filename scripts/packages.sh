#!/bin/sh
# Checks for the Debian packages that `make run` or `make test` needs and installs what is missing.
# A tool that cannot be had ends the run: nothing is skipped in silence.
set -eu

case "${1:-}" in
run) wanted="cc:gcc cmake:cmake" ;;
test) wanted="cc:gcc cmake:cmake sipp:sip-tester baresip:baresip-core espeak-ng:espeak-ng sox:sox strace:strace openssl:openssl node:nodejs npm:npm" ;;
*) echo "usage: packages.sh run|test" >&2; exit 2 ;;
esac

command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.95 or newer from https://rustup.rs" >&2; exit 1; }

missing=""
for pair in $wanted; do
	command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
# JsSIP, an independent client of the WebSocket listeners.
packages_of_node() {
	[ "$1" != test ] || [ -d tests/js/node_modules ] || npm ci --silent --no-audit --no-fund --prefix tests/js
}
[ -n "$missing" ] || { packages_of_node "$1"; exit 0; }

sudo=""
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "missing packages:$missing (as root: apt-get install$missing)" >&2; exit 1; }
	sudo="sudo"
fi
echo "installing$missing"
# shellcheck disable=SC2086 # the list is meant to be split
DEBIAN_FRONTEND=noninteractive $sudo sh -c "apt-get update -qq && apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=900 $missing"
packages_of_node "$1"
