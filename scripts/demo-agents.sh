#!/bin/sh
# Makes sure that the demo's agents exist: 1001 of fuzhou and 2001 of quanzhou.
set -eu
config="$1"
jiesu="./target/release/jiesu"
add() {
	"$jiesu" agent list --site "$1" --config "$config" | grep -q "^$2 " ||
		"$jiesu" agent add --site "$1" --name "$2" --password "demo-$2" --display-name "$3" \
			--skill general=5 --skill social=5 --config "$config"
}
mkdir -p data
add fuzhou 1001 "示范座席 1001"
add quanzhou 2001 "示范座席 2001"
