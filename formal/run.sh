#!/bin/sh
# Runs the models with ProVerif 2.05, and says which results differ from what is expected of them.
#
#   formal/run.sh                       all models, in all their runs
#   formal/run.sh login-proof binding   these
#   formal/run.sh -l                    lists models and runs, and asks nothing
#
# FORMAL_RUN=NAME        only the runs of that name
# FORMAL_TIMEOUT=N       seconds of a processor for one run (300)
# FORMAL_KEEP=FOLDER     keeps what ProVerif said of each run there, with the traces of the attacks
#
# Ends with 0 if everything is as expected, with 1 if something differs, with 2 if nothing could be asked.
# README.md says how a model declares its runs, and what is expected of each query in each.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
: "${FORMAL_TIMEOUT:=300}"
models=$(cd "$here" && ls -- *.pv | sed 's/\.pv$//')
# NAME LIBRARY..., one run a line.
runs() { sed -n 's/^(\*@ run \([^:]*\): \(.*\) \*).*$/\1 \2/p' "$here/$1.pv"; }

if [ "${1:-}" = -l ]; then
  for model in $models; do runs "$model" | sed "s/^/$model: /; s/^\([^:]*: [^ ]*\).*/\1/"; done
  exit 0
fi
for model in "$@"; do [ -f "$here/$model.pv" ] || { echo "no model $model" >&2; exit 2; }; done
command -v proverif >/dev/null || { echo "no proverif on the PATH" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The model as it is in one run, and the results expected of it, one a line.
variant() { # file run
  awk -v run="$2" -v expected="$work/expected" '
    function names(list, n, i, words) {
      n = split(list, words, /[ \t]+/)
      for (i = 1; i <= n; i++) if (words[i] == run) return 1
      return 0
    }
    function expectation(line, n, i, words, pair) {
      n = split(line, words, /[ \t]+/)
      for (i = 1; i <= n; i++) { split(words[i], pair, "="); if (pair[1] == run) return pair[2] }
      return ""
    }
    /\(\*@ not / {
      list = $0; sub(/.*\(\*@ not /, "", list); sub(/ \*\).*/, "", list)
      if (names(list)) { print ""; next }
    }
    /\(\*@ only / {
      list = $0; sub(/.*\(\*@ only /, "", list); code = list
      sub(/:.*/, "", list); sub(/^[^:]*: /, "", code); sub(/ \*\)[ \t]*$/, "", code)
      print names(list) ? code : ""; next
    }
    /^\(\*@ expect / { want = expectation($0); asks = 1; if (want != "") print want > expected; print ""; next }
    /^\(\*@ equivalence / { want = expectation($0); if (want != "") print want > expected; print ""; next }
    asks { print (want == "") ? "" : $0; if ($0 ~ /\.[ \t]*$/) asks = 0; next }
    { print }
  ' "$1"
}

differing=0
asked=0
started=$(date +%s)
[ $# -gt 0 ] && models=$*
for model in $models; do
  file=$here/$model.pv
  runs "$model" > "$work/runs"
  while read -r run libraries; do
    case "${FORMAL_RUN:-$run}" in "$run") ;; *) continue ;; esac
    : > "$work/expected"
    variant "$file" "$run" > "$work/model.pv"
    set --
    for library in $libraries; do
      variant "$here/$library" "$run" > "$work/$library"
      set -- "$@" -lib "$work/$library"
    done
    # A model that ends in an error, or not in time, has fewer results than are expected: each is a difference. The time is the
    # processor's, so that a machine with other things to do gives the same results.
    (ulimit -t "$FORMAL_TIMEOUT"; exec proverif "$@" "$work/model.pv") > "$work/output" 2>&1 < /dev/null || true
    sed -n '/^Verification summary:/,$p' "$work/output" |
      grep -E '^(Query|Weak secret|Observational|Non-interference)' > "$work/found" || true
    [ -s "$work/found" ] || grep -E 'Error|error' "$work/output" | head -n 3 || true
    while read -r want; do
      asked=$((asked + 1))
      IFS= read -r found <&3 || found="no result"
      case $found in
        # Of an equivalence ProVerif never says that it is false: it shows a trace that tells the two apart.
        Observational*"cannot be proved"*) if grep -q "A trace has been found" "$work/output"; then got=false; else got=unproved; fi ;;
        *"cannot be proved"*) got=unproved ;;
        *" is true"*) got=true ;;
        *" is false"*) got=false ;;
        *) got=none ;;
      esac
      if [ "$got" = "$want" ]; then
        echo "as expected: $model, $run: $found"
      else
        echo "DIFFERS: $model, $run: expected $want, got $got: $found"
        differing=$((differing + 1))
      fi
    done < "$work/expected" 3< "$work/found"
    if [ "$(wc -l < "$work/expected")" -ne "$(wc -l < "$work/found")" ]; then
      echo "DIFFERS: $model, $run: $(wc -l < "$work/expected") expectations, $(wc -l < "$work/found") results"
      differing=$((differing + 1))
    fi
    [ -z "${FORMAL_KEEP:-}" ] || cp "$work/output" "$FORMAL_KEEP/$model.$run.out"
  done < "$work/runs"
done
echo "$asked results, $differing differ, $(($(date +%s) - started)) seconds"
[ "$asked" -gt 0 ] || exit 2
[ "$differing" -eq 0 ]
