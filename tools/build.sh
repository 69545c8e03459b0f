#!/usr/bin/env bash
# Builds the module with one of cargo's profiles, installs it in .venv, and shows how far the build is:
#   tools/build.sh PROFILE LOG
# On a terminal that is cargo's own progress bar; elsewhere a line each 15 s, and the log only if the build fails.
set -eu -o pipefail

profile=$1
log=$2
command=(.venv/bin/maturin develop --profile "$profile" --locked)
[ "$profile" = dev ] && command=(.venv/bin/maturin develop --locked)

mkdir -p "$(dirname "$log")"
if [ -t 2 ]; then
  # pip's notes about what is installed already are of no interest
  exec "${command[@]}" >"$log"
fi

total=$(cargo tree --locked --package headgate-bridge --edges normal,build --prefix none 2>/dev/null | awk '{ print $1, $2 }' | sort -u | wc -l)
"${command[@]}" >"$log" 2>&1 &
build=$!
trap 'kill "$build" 2>/dev/null || true' EXIT
began=$SECONDS
shown=0
while kill -0 "$build" 2>/dev/null; do
  sleep 0.2
  if [ $((SECONDS - began)) -ge $((shown + 15)) ]; then
    shown=$((SECONDS - began))
    started=$(grep -c '^ *Compiling ' "$log" || true)
    latest=$(sed -n 's/^ *Compiling \([^ ]*\).*/\1/p' "$log" | tail -n 1)
    echo "build: ${shown} s, ${started} of ${total} crates started${latest:+, the latest is ${latest}}"
  fi
done
trap - EXIT
wait "$build" || { cat "$log"; exit 1; }
