#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: demo.sh CRS
# The main job on a real program: checkpoint, kill -9, restart, the same result. And again, from the same snapshot.
set -euo pipefail
crs=$(readlink -f "$1")
program=$(dirname "$(readlink -f "$0")")/numbers.py
python=/usr/bin/python3
lines=160

# Descriptors that whoever started us left open would be the program's as well, with who knows what at their other end.
# (255 is bash's own.)
for fd in "/proc/$$/fd/"*; do
  fd=${fd##*/}
  if ((fd > 2 && fd != 255)); then exec {fd}>&-; fi
done

work=$(mktemp -d "${TMPDIR:-/tmp}/crs-demo.XXXXXX")
pid=
cleanup() {
  if [[ -n $pid ]]; then kill -9 "$pid" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

step() { printf '\n%s\n' "$*"; }
show() {
  printf '  $ %s\n' "${*/#$crs/crs}"
  "$@" 2>&1 | sed 's/^/  /' || fail "exit status ${PIPESTATUS[0]}"
}
fail() {
  printf '\nThe demo FAILED: %s\n' "$*"
  exit 1
}
lines_in() { wc -l <"$1"; }
# Gone, or a zombie that its parent has not collected yet.
has_ended() { ! grep -q '^State:.[^ZX]' "/proc/$1/status" 2>/dev/null; }
wait_for_lines() {
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    if [[ -e $1 ]] && (($(lines_in "$1") >= $2)); then return; fi
    sleep 0.05
  done
  fail "the program wrote only $(lines_in "$1") lines in 30 seconds"
}
wait_for_end() {
  local tries
  for ((tries = 0; tries < 1200; tries++)); do
    if has_ended "$1"; then return; fi
    sleep 0.05
  done
  fail "process $1 did not end within a minute"
}
compare() {
  if cmp reference.txt output.txt; then
    echo "  $(lines_in output.txt) lines, byte for byte the same as the uninterrupted run"
  else
    fail "the output is not that of an uninterrupted run"
  fi
}

step "1. A python3 program with five threads runs to its end, undisturbed. What it writes is what we want to see."
"$python" "$program" reference.txt "$lines"
echo "  reference.txt: $(lines_in reference.txt) lines"

step "2. The same program again, started like any other: nothing preloaded, nothing prepared."
"$python" "$program" output.txt "$lines" </dev/null >/dev/null 2>&1 &
pid=$!
wait_for_lines output.txt 40
echo "  pid $pid, $(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l) threads, $(lines_in output.txt) lines so far"

step "3. Save it while it runs."
show "$crs" checkpoint "$pid" -o "$work/snapshot"

step "4. It runs on for a while, and then the worst happens."
wait_for_lines output.txt $(($(lines_in output.txt) + 30))
echo "  \$ kill -9 $pid"
{ kill -9 "$pid" && wait "$pid"; } 2>/dev/null || true
has_ended "$pid" || fail "process $pid is still there"
echo "  process $pid is dead; it had written $(lines_in output.txt) lines of $lines"
pid=

step "5. Bring it back, in the background."
echo "  \$ crs restart $work/snapshot --detach"
pid=$("$crs" restart "$work/snapshot" --detach --stdio null 2>messages) || fail "crs restart: $(<messages)"
sed 's/^/  /' messages
echo "  it runs again as pid $pid, from line $(lines_in output.txt) on"
wait_for_end "$pid"
compare
# Its number is free again as soon as its parent, init by now, has collected it.
for ((tries = 0; tries < 40; tries++)); do
  if [[ -e /proc/$pid ]]; then sleep 0.05; fi
done
pid=

step "6. Once more from the same snapshot, this time in the foreground: its exit status is passed on."
show "$crs" restart "$work/snapshot"
compare

step "The demo is done: twice the result of an uninterrupted run."
