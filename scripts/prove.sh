# The parts of the proof, one function each, and the table of what they counted. Sourced by ./prove.

# What the short form and the full one ask for.
short() { cases=2000 cuts=500 seeds=60 rounds=4 operations=400 kills=5 rolls=1 transfers=5 joins=1 mutants=0 which='*'; }
full() { cases=20000 cuts=5000 seeds=500 rounds=30 operations=6700 kills=300 rolls=5 transfers=300 joins=4 mutants=8 which='*'; }

usage() { sed -n '2,17p' "$top/prove" | sed 's/^# \{0,1\}//'; }

prove() {
  local form=short first_seed=1 only='' write='' began=$SECONDS
  rows=() failed=0 settings=''
  for argument; do if [ "$argument" = --full ]; then form=full; fi; done
  $form
  while [ $# -gt 0 ]; do
    case $1 in
    --full) ;;
    --write) write=yes ;;
    --only) only=,${2:?--only needs a list of parts}, && shift ;;
    --mutants) which=${2:?--mutants needs a pattern of names} mutants=1 && shift ;;
    --seed) first_seed=${2:?--seed needs a number} && shift ;;
    --cases | --cuts | --seeds | --rounds | --operations | --kills | --rolls | --transfers)
      case ${2:-} in '' | *[!0-9]*) echo "prove: $1 needs a number" >&2; exit 2 ;; esac
      declare -g "${1#--}=$2" && shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "prove: unknown argument $1; see --help" >&2; exit 2 ;;
    esac
    shift
  done
  case $only in *[!a-z,]*) echo "prove: --only takes names of parts, separated by commas" >&2; exit 2 ;; esac
  logs=${CARGO_TARGET_DIR:-$top/target}/prove
  mkdir -p "$logs"
  setup_build
  setup_porcupine || skip "judge of histories" "$reason"
  setup_network || skip "hosts" "$reason"
  local part
  # What is measured in time comes last, and is not disturbed by what was built for the others.
  for part in properties cuts simulation mutants faults joins rolling kills transfers; do
    case $only in '' | *",$part,"*) "part_$part" ;; esac
  done
  report "$form" $((SECONDS - began)) | tee "$logs/report.txt"
  [ -z "$write" ] || keep "$logs/report.txt"
  return $failed
}

# run NAME COMMAND…: runs it with its output in a log, and remembers whether it worked in `passed`.
run() {
  local before=$SECONDS
  log=$logs/$1.log passed=yes
  say "$1"
  shift
  if ! "$@" >"$log" 2>&1; then
    passed=
    failed=1
    grep -v ' WARN ' "$log" | tail -n 60 >&2
    say "FAILED; the whole log is $log"
  fi
  took=$((SECONDS - before))
}

# test PROGRAM-ARGUMENTS… -- TEST…: runs these tests one at a time and lets them print.
tests() {
  local program=()
  while [ "$1" != -- ]; do program+=("$1"); shift; done
  shift
  cargo test --locked "${program[@]}" -- --nocapture --include-ignored --test-threads=1 "$@"
}

# figure NAME: the sum of what the log's `prove NAME VALUE` lines say; nothing if there is none.
figure() { sed -n "s/.*prove $1 \([0-9][0-9]*\).*/\1/p" "$log" | awk '{ sum += $1 } END { if (NR) print sum }'; }

# total PHRASE: the sum of the numbers that follow PHRASE in the log.
total() { grep -o "$1[ :]*[0-9]*" "$log" | grep -o '[0-9]*$' | awk '{ sum += $1 } END { if (NR) print sum }'; }

# row WHAT COUNTED NEEDED: a line of the table. Too few make the run void.
row() {
  local verdict=ok
  if [ -z "$passed" ]; then verdict=FAILED; elif [ -z "$2" ] || [ "$2" -lt "$3" ]; then verdict=VOID; failed=1; fi
  rows+=("$(printf '%-46s %10s %10s   %s' "$1" "${2:-none}" "$3" "$verdict")")
}

# within WHAT COUNTED LIMIT: a line of the table for what must stay below a limit.
within() {
  local verdict=ok
  if [ -z "$passed" ]; then verdict=FAILED; elif [ -z "$2" ] || [ "$2" -ge "$3" ]; then verdict=MISSED; failed=1; fi
  rows+=("$(printf '%-46s %10s %10s   %s' "$1" "${2:-none}" "< $3" "$verdict")")
}

# skip WHAT REASON: a failure on CI, where nobody would notice.
skip() {
  say "Skipped: $1: $2"
  if [ "${CI:-}" = true ]; then failed=1; fi
  rows+=("$(printf '%-46s SKIPPED: %s' "$1" "$2")")
}

# The model's property tests, one line for each: the share of the asked-for cases that it runs, as a divisor.
property_tests() {
  find model/src -name '*.rs' -exec awk '
    /^ *proptest! \{$/ { inside = 1; match($0, /^ */); end = sprintf("%*s}", RLENGTH, ""); share = 1; next }
    inside && /cases: ProptestConfig::default\(\).cases \/ [0-9]+/ { share = $0; sub(/.*cases \/ /, "", share); share += 0 }
    inside && /#\[test\]/ { print share }
    $0 == end { inside = 0 }' {} \;
}

# Of everything that parses and decides; then openraft's own suite on our stores, and log, state and snapshots against
# plain models.
part_properties() {
  local each
  each=$(property_tests | awk -v cases="$cases" '{ whole += 1 / $1 } END { print int(cases / whole) + 8 }')
  PROPTEST_CASES=$each run model tests -p signet-model --lib --
  row "property cases of the model" "$(property_tests | awk -v each="$each" '{ sum += int(each / $1) } END { print sum + 0 }')" "$cases"
  SIGNET_CASES=$((cases / 4)) run stores tests -p signet-raft --lib -- tests::storage:: storage_model
  row "property cases of log, state and snapshot" "$(total 'property cases:')" $((cases / 4))
}

# Crashes at every byte of what was written last.
part_cuts() {
  SIGNET_CUTS=$cuts run cuts tests -p signet-raft --lib -- storage_cuts
  row "crash cut points" "$(total 'crash cuts:')" "$cuts"
}

# Whole clusters in one process on a clock of their own. The first seed is run twice, bit for bit.
part_simulation() {
  SIGNET_SIM_SEEDS=$seeds SIGNET_SIM_FIRST=$first_seed run simulation tests -p signet-raft --lib -- sim::
  row "simulation seeds" "$(total 'simulation: seeds')" "$seeds"
}

# Servers on hosts of their own; what clients were told is judged by porcupine.
part_faults() {
  SIGNET_ROUNDS=$rounds SIGNET_ROUND_OPERATIONS=$operations SIGNET_SEED=$first_seed run faults tests --test prove -- \
    whatever_fails_between_hosts the_judge_
  row "rounds of faults between hosts" "$(figure fault-rounds)" "$rounds"
  row "histories judged by porcupine" "$(figure histories)" $((rounds * 10))
  row "operations in them" "$(figure operations)" $((rounds * operations))
  row "SVIDs issued meanwhile, 0 failed" "$(figure issued-during-faults)" $((rounds * 20))
  within "leader hears nobody: longest write pause, ms" "$(figure inbound-lost-longest-ms)" "$([ "$rounds" -lt 30 ] && echo 2000 || echo 1000)"
}

part_joins() {
  SIGNET_JOINS=$joins run joins tests --test prove -- of_two_newcomers
  row "join tokens, each consumed exactly once" "$(figure join-tokens)" "$joins"
}

part_rolling() {
  SIGNET_ROLLS=$rolls run rolling tests --test prove -- a_rolling_restart
  row "nodes restarted in turn under load" "$(figure rolling-restarts)" $((rolls * 3))
  row "requests meanwhile, 0 failed, 0 writes lost" "$(figure rolling-requests)" $((rolls * 200))
}

# The pauses that are promised are those of the program as it is released, so the full form kills and moves that one; it is
# built before anything is measured. The short form does with the tests' own build, which is several times slower.
release_build() {
  [ "$form" = full ] || return 0
  run release-build cargo build --locked --release --package signet --bin signet
  export SIGNET_PROGRAM=${CARGO_TARGET_DIR:-$top/target}/release/signet
}

part_kills() {
  release_build
  SIGNET_TEST_ROUNDS=$kills run kills tests --test cluster -- killing_the_leader
  row "leaders killed under load, 0 writes lost" "$(figure kills)" "$kills"
  pauses kill 2000 500
}

part_transfers() {
  release_build
  SIGNET_TRANSFERS=$transfers run transfers tests --test prove -- planned_transfers
  row "planned transfers under load, 0 writes lost" "$(figure transfers)" "$transfers"
  pauses transfer 2000 50
}

# pauses WHAT LONGEST P99: how long no write got through. The 99th percentile means something from a hundred on.
pauses() {
  settings="$(sed -n 's/^prove settings //p' "$log" | tail -1); $([ "$form" = full ] && echo release || echo debug) build"
  rows+=("$(printf '%-46s %s' "  write pause" "$(sed -n "s/^prove $1-pauses //p" "$log" | tail -1)")")
  within "  longest write pause, ms" "$(figure "$1-longest-ms")" "$2"
  if [ "$(figure "$1s")" -ge 100 ] 2>/dev/null; then within "  99th percentile, ms" "$(figure "$1-p99-ms")" "$3"; fi
}

report() {
  local commit changed=''
  commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
  [ -z "$(git status --porcelain 2>/dev/null)" ] || changed=' with local changes'
  echo
  printf 'The proof, %s form, of commit %s%s\n' "$1" "$commit" "$changed"
  printf '%s, %s cores, %s min %s s, first seed %s\n' "$(date -u +%Y-%m-%d)" "$(nproc)" $(($2 / 60)) $(($2 % 60)) "$first_seed"
  [ -z "$settings" ] || printf 'elections: %s\n' "$settings"
  printf '\n%-46s %10s %10s\n' '' counted needed
  printf '%s\n' "${rows[@]}"
  printf '\n%s\n' "$([ $failed = 0 ] && echo 'violations 0' || echo 'NOT PROVEN: see the rows that do not say ok')"
}

# keep REPORT: makes it the page in docs/.
keep() {
  {
    printf '# The proof\n\nWhat `./prove --full --write` printed. What it is about: [consistency](consistency.md).\n\n```text\n'
    sed '/./,$!d' "$1"
    printf '```\n'
  } >docs/proof.md
  say "Written to docs/proof.md"
}

. scripts/mutants.sh
