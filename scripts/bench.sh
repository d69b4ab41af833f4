#!/bin/sh
# Runs every benchmark on the release build, prints one table and keeps it in benches/RESULTS.md.
# JIESU_BENCH=full runs the load at its full size (some five minutes more).
set -eu
cd "$(dirname "$0")/.."
results="benches/RESULTS.md"
rows="$(mktemp)"
trap 'rm -f "$rows"' EXIT

# Runs one benchmark, shows what it prints and keeps its rows, each with the command that repeats it.
bench() {
	echo "== $1"
	cargo bench --quiet --bench "$1" | tee -a /dev/stderr | awk -v bench="$1" -f scripts/bench-rows.awk >>"$rows"
}

for name in sip acd media load; do bench "$name"; done

cpu="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)"
{
	echo "# Benchmarks"
	echo
	echo "Written by \`make bench\` on $(date -u +%Y-%m-%d\ %H:%M) UTC: $(nproc) processors ($cpu), Linux $(uname -r)," \
		"commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD -- src Cargo.toml || echo ' with changes')," \
		"size ${JIESU_BENCH:-smoke}, load average at the end $(cut -d' ' -f1-3 /proc/loadavg)."
	echo "Everything runs on this one machine over loopback; the generator of load takes its share of the same processors."
	echo
	echo "| Figure | Value | Target or reference | Conditions | Again by |"
	echo "|---|---|---|---|---|"
	awk -F '\t' '{ printf "| %s | %s | %s | %s | `cargo bench --bench %s` |\n", $2, $3, $4, $5, $1 }' "$rows"
	echo
	sed -n '/^## What is on/,/^## What soaks/{/^## What soaks/!p}' benches/NOTES.md
} >"$results"
echo
sed -n '/^| /p' "$results"
echo "kept in $results"
