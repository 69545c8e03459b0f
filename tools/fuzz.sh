#!/usr/bin/env bash
# Fuzzes every target of fuzz/ for some seconds each: tools/fuzz.sh [SECONDS] [TARGET...]
#
# libFuzzer needs coverage in the code, which the stable compiler can put there too; so neither nightly nor cargo-fuzz is
# needed (`cargo +nightly fuzz run TARGET` works as well, and has the address sanitizer). What a run finds of new inputs
# stays in fuzz/target/; an input that breaks something is named at the end, and belongs into fuzz/corpus/ once it is mended.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
seconds="${1:-60}"
shift || true

if ! command -v c++ >/dev/null; then
  echo "fuzz: no C++ compiler here, which libFuzzer is built with; the seeds ran as ordinary tests in cargo test"
  echo "  hint: apt-get install g++"
  exit 0
fi

host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
 -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# named by --target, so that build scripts are built without the flags
RUSTFLAGS="--cfg fuzzing $(echo $coverage) -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1" \
  cargo build --release --locked --quiet --target "$host" --target-dir target

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)
for target in "${targets[@]}"; do
  found="target/found/$target"
  mkdir -p "$found"
  if ! "target/$host/release/$target" "$found" "corpus/$target" -artifact_prefix="$found-" -max_total_time="$seconds" \
      -max_len=65536 -print_final_stats=1 >"$found.log" 2>&1; then
    tail -n 40 "$found.log"
    echo "fuzz: $target FAILED; its input is named above"
    exit 1
  fi
  echo "fuzz: $target, $(sed -n 's/^stat::number_of_executed_units: *//p' "$found.log") inputs in $seconds s, none broke it"
done
