#!/usr/bin/env bash
# Takes what fuzz/run-all.sh has found into the committed corpus, as little of it as reaches all that it reaches: fuzz/keep.sh [TARGET...]
#
# What the seeds reach by themselves needs nothing in the corpus, nor does what is reached more often than before.
set -euo pipefail
cd "$(dirname "$0")"
export RUSTC_BOOTSTRAP=1
[ $# -gt 0 ] && targets=("$@") || mapfile -t targets < <(cargo fuzz list)
for target in "${targets[@]}"; do
  mkdir -p "found/$target" "corpus/$target"
  kept=$(mktemp -d)
  cp "seeds/$target"/* "$kept"
  cargo fuzz run --sanitizer none "$target" -- -merge=1 -use_counters=0 -max_len=1500 "$kept" "$(readlink -f "corpus/$target")" "$(readlink -f "found/$target")" 2>&1 |
    grep -aE "MERGE-OUTER: .* (new files|initial)" || true
  for seed in "seeds/$target"/*; do rm "$kept/$(basename "$seed")"; done
  rm -rf "corpus/$target"
  mkdir "corpus/$target"
  find "$kept" -type f -exec mv -t "corpus/$target" {} +
  rm -r "$kept"
  echo "$target: $(find "corpus/$target" -type f | wc -l) inputs, $(du -sb "corpus/$target" | cut -f1) bytes"
done
