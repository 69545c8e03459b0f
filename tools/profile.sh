#!/usr/bin/env bash
# Makes the profile that release builds are optimised by (docs/decisions/why-profile-guided-builds.md):
#   tools/profile.sh FILE
# builds the module with counters in it, puts the loads of tools/training on it, merges what was counted into FILE.
# FILE stays empty, which means "build without", where rustc's own llvm-profdata cannot be had, or the training fails.
set -eu -o pipefail

file=$1
build=$(dirname "$file")/build
raw=$(dirname "$file")/raw
tool="$(rustc --print target-libdir)/../bin/llvm-profdata"

without() { # why, and what to do
  echo "profile: $1; release builds do without a profile, some per cent slower"
  echo "  hint: $2"
  : >"$file"
  exit 0
}

mkdir -p "$build"
if [ ! -x "$tool" ]; then
  echo "profile: fetching rustc's llvm-profdata (rustup component add llvm-tools)"
  timeout 120 rustup component add llvm-tools >/dev/null 2>&1 || true
fi
if [ ! -x "$tool" ]; then
  without "there is no llvm-profdata for this rustc" "rustup component add llvm-tools, then make profile"
fi

echo "profile: building with counters (some minutes)"
CARGO_TARGET_DIR=$(realpath "$build") RUSTFLAGS="${RUSTFLAGS:-} -Cprofile-generate=$(realpath -m "$raw")" \
  bash tools/build.sh release "$build/build.log"
rm -rf "$raw" # what macros and build scripts counted while they ran
echo "profile: training (half a minute)"
.venv/bin/python tools/training/train.py >"$build/training.log" 2>&1 || {
  tail -n 20 "$build/training.log"
  without "the training failed" "make profile, and see $build/training.log"
}
"$tool" merge --sparse -o "$file.new" "$raw"/*.profraw
mv "$file.new" "$file"
rm -rf "$raw"
echo "profile: $(du -h "$file" | cut -f1) in $file"
