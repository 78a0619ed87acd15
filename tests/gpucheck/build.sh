#!/bin/sh
# build.sh DIR: the folder of the whole check of a GPU, made where there is none (doc.go). SMOLLM2=no leaves the
# model out.
set -eu
here=$(pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
rm -rf "$dir/kernels" "$dir/models" "$dir/logs" "$dir/smollm2.quire"
export CGO_ENABLED=0
go=${GO:-go}
for p in codegen/kernels tests/conformance runtime/cuda/driver; do
	$go test -c -trimpath -ldflags '-s -w' -o "$dir/$(basename $p).test" ./$p
done
$go build -trimpath -ldflags '-s -w' -o "$dir/gpucheck" ./tests/gpucheck
printf '#!/bin/sh\n# The whole check of a GPU: needs its driver and no more.\ncd "$(dirname "$0")" && exec ./gpucheck "$@"\n' >"$dir/run.sh"
chmod +x "$dir/run.sh"
# Each bundle is filled, then read with nothing that compiles: a kernel that it lacks shows here, not there.
step() {
	(cd $1 && shift && nice "$@") >"$dir/build.log" 2>&1 || { tail -20 "$dir/build.log"; exit 1; }
}
step codegen/kernels "$dir/kernels.test" -test.skip 'Ptxas|KernelsOnGPUs|Linear|Driver|Bundle' -bundle "$dir/kernels"
step codegen/kernels "$dir/kernels.test" -test.v -bundle "$dir/kernels" -device bundle
! grep -e '--- SKIP' "$dir/build.log" || exit 1
step tests/conformance "$dir/conformance.test" -test.run TestGPU -bundle "$dir/models"
step tests/conformance "$dir/conformance.test" -test.run TestGPU -bundle "$dir/models" -device bundle
rm "$dir/build.log"
[ "${SMOLLM2:-}" = no ] || [ ! -x bin/quire ] || ! bin/quire compile smollm2 --target sm_90a --kv f16 -o "$dir/smollm2.quire" || {
	cp bin/quire "$dir/quire"
	cp tests/e2e/testdata/smollm2/greedy.json "$dir/greedy.json"
}
du -sh "$dir"
