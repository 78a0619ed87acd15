# Shared by the scripts of this folder: each brings one thing into the cache, checked, once.
# A script that finds it there does nothing and needs no network.

cache=${QUIRE_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/quire}

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

die() {
	say "$@"
	exit 1
}

# sha256_is FILE SUM
sha256_is() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]; }

# package DIR SUM PIP-ARGUMENTS...: downloads one file of a Python package into DIR and prints its path.
package() {
	_dir=$1 _sum=$2
	shift 2
	command -v python3 >/dev/null 2>&1 || die "python3 is missing: install it (apt-get install python3 python3-pip)"
	python3 -m pip --version >/dev/null 2>&1 || die "pip is missing: install it (apt-get install python3-pip)"
	nice -n 10 python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$_dir" "$@" >"$_dir/pip.log" 2>&1 ||
		die "could not download $*: $(grep -v '^ ' "$_dir/pip.log" | tail -1)"
	for _f in "$_dir"/*.whl "$_dir"/*.tar.gz; do
		[ -f "$_f" ] || continue
		sha256_is "$_f" "$_sum" || die "$(basename "$_f") has the wrong checksum, expected $_sum"
		printf '%s\n' "$_f"
		return 0
	done
	die "pip downloaded no file for $*"
}
