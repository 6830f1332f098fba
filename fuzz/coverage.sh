#!/usr/bin/env bash
# What the committed corpus and the seeds reach, by lines: fuzz/coverage.sh [TARGET...]
#
# Prints a table of the protocol's own files, and writes fuzz/coverage/lines.txt (every line, with how often it ran). Needs LLVM's tools of
# a version that reads what this Rust writes: `LLVM=/usr/lib/llvm-19/bin fuzz/coverage.sh` with those of Debian's package llvm-19.
set -euo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] && targets=("$@") || mapfile -t targets < <(cargo fuzz list)
llvm=${LLVM:-$(dirname "$(command -v llvm-cov)")}
# Only what is looked at is instrumented, so that everything else is built once.
export RUSTC_BOOTSTRAP=1
config=(-Zprofile-rustflags --config 'profile.dev.package.countersign.rustflags=["-Cinstrument-coverage"]'
  --config 'profile.dev.package.countersign-fuzz.rustflags=["-Cinstrument-coverage"]')
cargo build "${config[@]}" --example replay
rm -rf coverage
mkdir coverage
for target in "${targets[@]}"; do
  LLVM_PROFILE_FILE=coverage/$target.profraw target/debug/examples/replay "$target" "seeds/$target" "corpus/$target"
done
"$llvm/llvm-profdata" merge -sparse coverage/*.profraw -o coverage/all.profdata
sources=(../src/wire ../src/handshake ../src/session.rs)
mapfile -t files < <(find "${sources[@]}" -name '*.rs' -exec readlink -f {} +)
"$llvm/llvm-cov" show target/debug/examples/replay -instr-profile=coverage/all.profdata --show-expansions=false \
  "${files[@]}" >coverage/lines.txt
"$llvm/llvm-cov" report target/debug/examples/replay -instr-profile=coverage/all.profdata "${files[@]}"
