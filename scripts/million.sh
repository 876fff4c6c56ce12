#!/usr/bin/env bash
# What a cluster with very many registration entries is like: fills one, then measures its snapshots, how a new node catches
# up while the others serve, how long a restart takes, and memory. Everything on loopback, in a folder that is deleted again.
#
#   scripts/million.sh [ENTRIES [FOLDER]]      1000000 and a temporary folder by default; needs 10 GB there
#
# Build for release first: cargo build --release -p signet. It takes about five minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
entries=${1:-1000000}
folder=${2:-$(mktemp -d)}/million
signet=$(realpath "${CARGO_TARGET_DIR:-target}")/release/signet
mkdir -p "$folder"
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$folder"
}
trap finish EXIT

say() { printf '%s\n' "$*"; }
now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.1f s", to - from }'; }
# within SECONDS COMMAND…: until it works.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { say "gave up waiting for: $*"; exit 1; }
    sleep 0.05
  done
}
socket() { echo "$folder/data/run/node-$1.sock"; }
pid_of() { sed -n 's/^ *"pid": \([0-9]*\).*/\1/p' "$folder/data/dev.json" | sed -n "$1p"; }
memory() { awk '/^VmRSS/ { printf "%d MiB", $2 / 1024 }' "/proc/$1/status"; }
status() { "$signet" cluster status --socket "$(socket "$1")"; }
ready() { curl -fsS "http://$(sed -n 's/^http = "\(.*\)"/\1/p' "$folder/data/node-4.toml")/readyz"; }
voter() { status 1 | awk '$1 == 4 && ($2 == "follower" || $2 == "leader") { found = 1 } END { exit !found }'; }
start_fourth() {
  "$signet" server --config "$folder/data/node-4.toml" "$@" >>"$folder/node-4.log" 2>&1 &
  fourth=$!
  pids+=("$fourth")
}

"$signet" dev --data "$folder/data" >"$folder/dev.log" 2>&1 &
pids+=($!)
within 60 test -e "$folder/data/dev.json"
say "filling a cluster of three with $entries entries"
begun=$(now)
"$signet" loadtest writes --dev "$folder/data" --clients 64 --batch 50 --duration 30m --entries "$entries" --keep
say "filled in $(since "$begun")"
for node in 1 2 3; do say "node $node: $(memory "$(pid_of $node)") resident"; done

begun=$(now)
"$signet" snapshot save "$folder/backup" --socket "$(socket 1)" >/dev/null
say "signet snapshot save: $(since "$begun"), $(du -m "$folder/backup" | cut -f1) MiB"
rm "$folder/backup"

begun=$(now)
"$signet" cluster join-token "$folder/token" --socket "$(socket 1)" >/dev/null
# The third's configuration, with ports and places of its own.
awk -v FS='"' -v OFS='"' '/127\.0\.0\.1:[0-9]+"/ && !/token_issuer/ { split($2, part, ":"); $2 = part[1] ":" part[2] + 20 }
  { gsub("node-3", "node-4") } 1' "$folder/data/node-3.toml" >"$folder/data/node-4.toml"
"$signet" loadtest writes --dev "$folder/data" --clients 16 --batch 1 --duration 20s >"$folder/meanwhile.txt" 2>/dev/null &
meanwhile=$!
start_fourth --join-token-file "$folder/token"
within 300 voter
say "a fourth node joined, caught up and became a voter in $(since "$begun"), $(memory "$fourth") resident; meanwhile:"
wait "$meanwhile"
tail -1 "$folder/meanwhile.txt" | awk '{ printf "  %s entries/s written by 16 clients, errors %s, p50 %s ms, p99 %s, longest %s\n", $2, $3, $4, $5, $6 }'
grep -h "received snapshot" "$folder/node-4.log" | sed 's/.*: put/  put/' || true

status 1
begun=$(now)
kill "$fourth"
wait "$fourth" || true
say "the fourth node ended in $(since "$begun")"
begun=$(now)
start_fourth
within 60 ready
say "it started again and was ready in $(since "$begun"), $(memory "$fourth") resident"
grep -h "made a snapshot" "$folder"/data/node-*.log | sed 's/.*: made/node: made/' | sort -t= -k2 | tail -3
