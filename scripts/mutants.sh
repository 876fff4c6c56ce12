# Known bugs, put back into a copy of the tree one at a time: does the suite that is there for each catch it? Sourced by
# scripts/prove.sh.
#
# tests/prove/mutants/NAME.patch begins with lines `breaks: …` (what it does), `caught by: …` (arguments of cargo test)
# and perhaps `with: NAME=VALUE …` (the suite's environment), then the patch.

part_mutants() {
  local patch name caught=0 count=0 tried=0
  copy_tree
  for patch in tests/prove/mutants/*.patch; do
    count=$((count + 1))
    if ! (cd "$tree" && git apply --check "$top/$patch") 2>"$logs/mutant.log"; then
      failed=1
      cat "$logs/mutant.log" >&2
      rows+=("$(printf '%-46s %s' "  $(basename "$patch" .patch)" 'FAILED: the patch does not apply any more; make it anew')")
    fi
  done
  if [ "$mutants" = 0 ]; then
    rows+=("$(printf '%-46s %10s %10s   %s' 'mutants that still apply (--full runs them)' "$count" 8 "$([ $count -ge 8 ] && echo ok || echo VOID)")")
    return 0
  fi
  target=${CARGO_TARGET_DIR:-$top/target}/mutants/target
  seed_target
  check_suites
  for patch in tests/prove/mutants/$which.patch; do
    name=$(basename "$patch" .patch)
    tried=$((tried + 1))
    run "mutant-$name" mutant "$patch"
    if [ -n "$passed" ]; then caught=$((caught + 1)); fi
    rows+=("$(printf '%-46s %s' "  $(field breaks "$patch")" "$([ -n "$passed" ] && echo caught || echo 'NOT CAUGHT')")")
  done
  passed=yes
  row "mutants caught" "$caught" "$((tried > mutants ? tried : mutants))"
}

# field NAME PATCH: what its head says.
field() { sed -n "s/^$1: //p" "$2" | head -1; }

# A copy of what git knows or would add, with the times of the files, so that only what a patch changes is built anew.
copy_tree() {
  tree=${CARGO_TARGET_DIR:-$top/target}/mutants/tree
  rm -rf "$tree"
  mkdir -p "$tree"
  git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [ -e "$file" ]; then printf '%s\0' "$file"; fi
  done | tar --null --no-recursion -T - -cf - | tar -x -C "$tree" -f -
  # Of its own, or git would take the patch for one of the repository around it, and apply nothing.
  git -C "$tree" init -q
}

# What is not ours needs no building again: it is the same for every tree.
seed_target() {
  [ ! -d "$target" ] || return 0
  mkdir -p "$target"
  local from=${CARGO_TARGET_DIR:-$top/target}/debug
  [ ! -d "$from" ] || { mkdir "$target/debug" && cp -a "$from/deps" "$from/build" "$from/.fingerprint" "$target/debug/"; }
}

# suite PATCH MORE…: the suite that must catch it, in the copy.
suite() {
  local patch=$1 arguments environment
  shift
  read -ra arguments <<<"$(field 'caught by' "$patch")"
  read -ra environment <<<"$(field with "$patch")"
  (cd "$tree" && CARGO_TARGET_DIR=$target env "${environment[@]}" "$@" cargo test --locked "${arguments[@]}")
}

# A suite that fails by itself would seem to catch everything.
check_suites() {
  local patch key seen='|'
  for patch in tests/prove/mutants/$which.patch; do
    key="$(field 'caught by' "$patch") $(field with "$patch")"
    case $seen in *"|$key|"*) continue ;; esac
    seen="$seen$key|"
    run "suite-$(basename "$patch" .patch)" suite "$patch" timeout 900
  done
}

# mutant PATCH: works if the suite was built, was run, and failed.
mutant() {
  local verdict=0
  (cd "$tree" && git apply "$top/$1") || return 1
  # shellcheck disable=SC2046
  (cd "$tree" && CARGO_TARGET_DIR=$target cargo test --locked --no-run $(field 'caught by' "$1" | sed 's/ -- .*//')) || verdict=build
  if [ "$verdict" != build ]; then suite "$1" timeout 600 || verdict=$?; fi
  (cd "$tree" && git apply -R "$top/$1") || return 1
  case $verdict in
  0) echo "not caught: the suite passes with it"; return 1 ;;
  build) echo "it does not compile"; return 1 ;;
  124) echo "the suite did not end within 10 minutes"; return 1 ;;
  esac
}
