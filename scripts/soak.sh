#!/bin/sh
# Hundreds of thousands of real calls through the release program; keeps what came of it in benches/SOAK.md.
# JIESU_SOAK_ROUNDS says how many hundred thousand (2). Some five minutes and 1 GiB of disk each, given back at the end.
set -eu
cd "$(dirname "$0")/.."
results="benches/SOAK.md"
said="$(mktemp)"
trap 'rm -f "$said"' EXIT

# Without a pipe, so that a failure is one.
JIESU_LOAD_ONLY=soak cargo bench --quiet --bench load >"$said" || { cat "$said" >&2; exit 1; }
cat "$said"

cpu="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)"
{
	echo "# Soak"
	echo
	echo "Written by \`make soak\` on $(date -u +%Y-%m-%d\ %H:%M) UTC: $(nproc) processors ($cpu), Linux $(uname -r)," \
		"commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD -- src Cargo.toml || echo ' with changes')," \
		"load average at the end $(cut -d' ' -f1-3 /proc/loadavg)."
	echo
	echo "| Figure | Value | Target | Conditions |"
	echo "|---|---|---|---|"
	awk -F '\t' '$1 == "row" { printf "| %s | %s | %s | %s |\n", $2, $3, $4, $5 }' "$said"
	echo
	sed -n '/^## What soaks/,$p' benches/NOTES.md
} >"$results"
echo "kept in $results"
