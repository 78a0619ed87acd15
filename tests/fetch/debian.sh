#!/bin/sh
# debian.sh: LLVM's tools and Graphviz from Debian (llvm-19, lld-19, graphviz), by apt-get, where they are missing.
# Needs root or sudo for that. Fails when LLVM is not there in the end; Graphviz only draws, so its lack is said and no more.
set -eu
. "$(dirname "$0")/lib.sh"

has() {
	command -v "$1" >/dev/null 2>&1 || [ -x "/usr/lib/llvm-19/bin/${1%-19}" ] || [ -x "${QUIRE_LLVM:-/nowhere}/${1%-19}" ]
}

missing() {
	has opt-19 && has llc-19 || printf 'llvm-19 '
	has ld.lld-19 || printf 'lld-19 '
	has dot || printf 'graphviz '
}

# apt ARGUMENTS...: apt-get as root, its output kept for a message.
apt() {
	root=
	[ "$(id -u)" = 0 ] || root="sudo -n"
	DEBIAN_FRONTEND=noninteractive $root apt-get -q -y "$@" >"$log" 2>&1
}

want=$(missing)
[ -n "$want" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
	why="there is no apt-get here"
elif [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
	why="neither root nor sudo without a password"
else
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	say "installing $want"
	apt install --no-install-recommends $want || { apt update && apt install --no-install-recommends $want; } || why=$(grep '^E:' "$log" | head -1)
fi

want=$(missing)
[ -n "$want" ] || exit 0
say "could not install $want(${why:-apt-get did not}): install it by hand: apt-get install $want"
case $want in *llvm* | *lld*) exit 1 ;; esac
