# SPDX-License-Identifier: Apache-2.0
# bash completion for crs(1).

_crs_snapshots() {
  # Jobs, and each of their generations, of the store that the words so far name.
  local store="" i
  for ((i = 1; i < ${#COMP_WORDS[@]} - 1; i++)); do
    [[ ${COMP_WORDS[i]} == --store ]] && store=${COMP_WORDS[i + 1]}
  done
  store=${store:-${CRS_STORE:-${XDG_STATE_HOME:-$HOME/.local/state}/crs}}
  local job number
  for job in "$store"/*/; do
    [[ -d $job ]] || continue
    job=${job%/}
    compgen -G "$job/[0-9]*" >/dev/null || continue # nothing was ever saved
    printf '%s\n' "${job##*/}"
    for number in "$job"/[0-9]*/; do
      [[ -d $number ]] || continue
      number=${number%/}
      number=${number##*/}
      [[ $number =~ ^[0-9]+$ ]] && printf '%s@%d\n' "${job##*/}" "$((10#$number))"
    done
  done
}

_crs_processes() {
  # One's own processes; root sees all.
  local directory
  for directory in /proc/[0-9]*; do
    [[ $EUID == 0 || -O $directory ]] && printf '%s\n' "${directory#/proc/}"
  done
}

_crs() {
  local cur prev command="" i
  cur=${COMP_WORDS[COMP_CWORD]}
  prev=${COMP_WORDS[COMP_CWORD - 1]}
  # '@' and '=' may be word breaks: put JOB@N together again.
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n @= cur prev
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ ${COMP_WORDS[i]} != -* ]]; then
      command=${COMP_WORDS[i]}
      break
    fi
  done
  local commands="checkpoint run restart rollback check list inspect verify rm components params help"
  COMPREPLY=()
  if [[ -z $command ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$cur")
    return
  fi

  case $prev in
    --store | -o | --output)
      mapfile -t COMPREPLY < <(compgen -d -- "$cur")
      compopt -o filenames
      return
      ;;
    --pidfile)
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      compopt -o filenames
      return
      ;;
    --compress) mapfile -t COMPREPLY < <(compgen -W "zstd lz4 none" -- "$cur"); return ;;
    --component) mapfile -t COMPREPLY < <(compgen -W "native none" -- "$cur"); return ;;
    --pid) mapfile -t COMPREPLY < <(compgen -W "auto same namespace" -- "$cur"); return ;;
    --stdio) mapfile -t COMPREPLY < <(compgen -W "auto inherit saved null" -- "$cur"); return ;;
    --files) mapfile -t COMPREPLY < <(compgen -W "rollback keep refuse" -- "$cur"); return ;;
    --job) mapfile -t COMPREPLY < <(compgen -W "$(_crs_snapshots | grep -v @)" -- "$cur"); return ;;
    --clock) mapfile -t COMPREPLY < <(compgen -W "auto continue host" -- "$cur"); return ;;
    --env) mapfile -t COMPREPLY < <(compgen -v -- "$cur"); return ;;
    --timeout | --events | --debugger-limit | --level | --keep | --fd | --param | --rank) return ;;
  esac

  local options="--help --param"
  case $command in
    checkpoint) options+=" --job --store --output -o --term --stop --attach-debugger --detach-debugger --debugger-limit --skip-dontdump --component --compress --level --timeout --events --json --quiet" ;;
    run) options+=" --agent --force --store --rank" ;;
    restart) options+=" --detach --in-place --pidfile --pid --stdio --fd --env --clock --attach-debugger --detach-debugger --debugger-limit --files --allow-changed-files --ignore-cpu --store --timeout --json --quiet" ;;
    rollback) options+=" --files --allow-changed-files --ignore-cpu --store --timeout --json --quiet" ;;
    check) options+=" --store --skip-dontdump --component --timeout --json" ;;
    list | inspect) options+=" --store --timeout --json" ;;
    verify) options+=" --store --timeout --json --quiet" ;;
    rm) options+=" --all --keep --store --timeout --json --quiet" ;;
    components | params) options+=" --timeout --json" ;;
  esac
  if [[ $cur == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    return
  fi
  case $command in
    run) mapfile -t COMPREPLY < <(compgen -c -- "$cur") ;;
    checkpoint | check | components) mapfile -t COMPREPLY < <(compgen -W "$(_crs_processes)" -- "$cur") ;;
    restart | inspect | verify)
      mapfile -t COMPREPLY < <(compgen -W "$(_crs_snapshots)" -- "$cur"; compgen -d -- "$cur")
      ;;
    rollback)
      mapfile -t COMPREPLY < <(compgen -W "$(_crs_processes) $(_crs_snapshots)" -- "$cur"; compgen -d -- "$cur")
      ;;
    rm) mapfile -t COMPREPLY < <(compgen -W "$(_crs_snapshots)" -- "$cur") ;;
    list) mapfile -t COMPREPLY < <(compgen -W "$(_crs_snapshots | grep -v @)" -- "$cur") ;;
    params) mapfile -t COMPREPLY < <(compgen -W "service native none" -- "$cur") ;;
    help) mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur") ;;
  esac
}

complete -F _crs crs
