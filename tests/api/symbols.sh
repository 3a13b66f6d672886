#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# symbols.sh LIBRARY HEADER LIST: the library shows exactly the symbols of the list, and each is declared in the header.
set -euo pipefail
library=$1 header=$2 list=$3
shown=$(nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort)
diff -u "$list" - <<<"$shown" || {
  echo "libcrs.so shows other symbols than $list tells: add new ones to the list, never take one away"
  exit 1
}
while read -r symbol; do
  grep -qw "$symbol" "$header" || { echo "$symbol is not declared in $header"; exit 1; }
done <"$list"
declared=$(gcc -E -P "$header" | grep -oE '\bcrs_[a-z_]+ ?\(' | tr -d ' (' | sort -u)
for symbol in $declared; do
  grep -qx "$symbol" "$list" || { echo "$symbol is declared and not shown by the library"; exit 1; }
done
