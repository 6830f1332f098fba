#!/usr/bin/env bash
# Runs every fuzz target, one after the other, for so many hours together: fuzz/run-all.sh HOURS [TARGET...]
#
# What is found goes to fuzz/found (not committed), what fails to fuzz/artifacts; at the end there is a table of what each target did,
# and an exit status of 1 if anything failed. A target that fails is begun again, as long as there is time for it.
# fuzz/keep.sh takes what was found into the corpus.
set -uo pipefail
cd "$(dirname "$0")"
hours=${1:?how many hours?}
shift
# The library has no unsafe code of its own, so no sanitizer looks for what that does wrong, and a target gets through twice as many inputs.
# SANITIZER=address has one look at what is under it, too.
sanitizer=${SANITIZER:-none}
export RUSTC_BOOTSTRAP=1 # the fuzzer's flags on stable Rust
[ $# -gt 0 ] && targets=("$@") || mapfile -t targets < <(cargo fuzz list)
cargo fuzz build --sanitizer "$sanitizer" || exit 1
each=$(awk "BEGIN { print int($hours * 3600 / ${#targets[@]}) }")
status=0
table=$(printf '%-16s %12s %8s %8s %8s %8s' target executions seconds edges features failures)
for target in "${targets[@]}"; do
  mkdir -p "found/$target" "corpus/$target"
  log=$(mktemp)
  executions=0 failures=0 end=$((SECONDS + each))
  while [ $SECONDS -lt $end ]; do
    cargo fuzz run --sanitizer "$sanitizer" "$target" "found/$target" "corpus/$target" "seeds/$target" -- -dict=countersign.dict \
      -max_total_time=$((end - SECONDS)) -timeout=25 -print_final_stats=1 >"$log" 2>&1
    done=$?
    run=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    executions=$((executions + ${run:-0}))
    [ $done = 0 ] && break
    failures=$((failures + 1)) status=1
    echo "$target failed:"
    grep -aE "panicked at|ERROR:|Test unit written" -A 2 "$log" | tail -n 8
    # Something is wrong that needs no fuzzing to be found.
    [ $failures -ge 20 ] && break
  done
  last=$(grep -aE "cov: [0-9]+ ft: [0-9]+" "$log" | tail -n 1)
  edges=$(sed -E 's/.*cov: ([0-9]+).*/\1/' <<<"$last") features=$(sed -E 's/.*ft: ([0-9]+).*/\1/' <<<"$last")
  row=$(printf '%-16s %12s %8s %8s %8s %8s' "$target" "$executions" "$((each + SECONDS - end))" "$edges" "$features" "$failures")
  table+=$'\n'$row
  rm "$log"
done
echo "$table"
exit $status
