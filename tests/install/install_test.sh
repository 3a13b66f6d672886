#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: install_test.sh SOURCE_FOLDER BUILD_FOLDER
# Installs into a folder of its own, moves that folder (packages must not know where they were made), and then looks
# for everything the way others do: by path, by pkg-config, by find_package, by bash.
set -euo pipefail
source=$1
build=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

DESTDIR='' cmake --install "$build" --prefix "$work/first" >"$work/install.log" || {
  cat "$work/install.log" >&2
  fail "cmake --install"
}
mv "$work/first" "$work/prefix"
prefix=$work/prefix
libdir=$(dirname "$(dirname "$(find "$prefix" -name crs.pc)")")

[[ -x $prefix/bin/crs ]] || fail "no bin/crs"
version=$("$prefix/bin/crs" --version) || fail "bin/crs --version: exit status $?"

export PKG_CONFIG_PATH=$libdir/pkgconfig
[[ $(readlink -m "$(pkg-config --variable=crs crs)") == "$(readlink -m "$prefix/bin/crs")" ]] ||
  fail "pkg-config --variable=crs crs: $(pkg-config --variable=crs crs)"
[[ $version == *"$(pkg-config --modversion crs)"* ]] || fail "pkg-config has $(pkg-config --modversion crs), crs $version"

cmake -S "$source/tests/install/consumer" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$prefix" >"$work/consumer.log" 2>&1 || {
  cat "$work/consumer.log" >&2
  fail "find_package(crs)"
}

# A program that takes part: compiled against what is installed, it finds the installed crs.
cat >"$work/taker.c" <<'PROGRAM'
#include <crs/crs.h>
#include <stdio.h>
static void show(const crs_component_info *component, void *unused) {
  (void)unused;
  puts(component->name);
}
int main(void) {
  if (crs_init() != CRS_SUCCESS || crs_service_list_components(NULL, 0, show, NULL) != CRS_SUCCESS) {
    puts(crs_last_error()->message);
    return 1;
  }
  return crs_finalize();
}
PROGRAM
# shellcheck disable=SC2046  # several words on purpose
cc -std=c11 -pedantic -Werror "$work/taker.c" -o "$work/taker" $(pkg-config --cflags --libs crs) || fail "compile against crs.pc"
env -u CRS_PROGRAM PATH=/usr/bin:/bin LD_LIBRARY_PATH="$libdir" "$work/taker" >"$work/taker.out" || fail "the program: $(cat "$work/taker.out")"
grep -qx native "$work/taker.out" || fail "the program knows of no component native"

if command -v scdoc >/dev/null; then
  for page in "$source"/docs/man/*.scd; do
    [[ -e $page ]] || continue
    name=$(basename "$page" .scd)
    [[ -s $prefix/share/man/man${name##*.}/$name ]] || fail "no man page $name"
  done
fi
if [[ -e $source/completions/crs.bash ]]; then
  bash -euc 'source "$1"; complete -p crs >/dev/null' - "$prefix/share/bash-completion/completions/crs" ||
    fail "the bash completion does not define one for crs"
fi
