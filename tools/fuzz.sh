#!/usr/bin/env bash
# Fuzzes every target of fuzz/ with cargo-fuzz on a nightly toolchain.
#   tools/fuzz.sh SECONDS          each target for so long; an error if cargo-fuzz or nightly is missing
#   tools/fuzz.sh --short SECONDS  the same, but says so and ends well where they are missing
set -eu
cd "$(dirname "$0")/.."
short=
if [ "${1:-}" = --short ]; then short=yes; shift; fi
seconds="${1:-60}"

if ! cargo fuzz --version >/dev/null 2>&1 || ! cargo +nightly --version >/dev/null 2>&1; then
  echo "fuzz: cargo-fuzz or a nightly toolchain is not here; the same targets' inputs ran as ordinary tests in cargo test"
  echo "  hint: rustup toolchain install nightly && cargo install cargo-fuzz"
  [ -n "$short" ] && exit 0
  exit 1
fi

for target in $(cargo +nightly fuzz list); do
  echo "fuzz: $target for $seconds s"
  cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -max_len=65536 -verbosity=0 -print_final_stats=0
done
