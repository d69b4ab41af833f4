#!/bin/sh
# Makes sure that the visitor's agents exist, 1001 of fuzhou and 2001 of quanzhou, and says how to reach everything.
set -eu
config="$1"
jiesu="./target/release/jiesu"
add() {
	"$jiesu" agent list --site "$1" --config "$config" | grep -q "^$2 " ||
		"$jiesu" agent add --site "$1" --name "$2" --password "demo-$2" --display-name "$3" \
			--skill general=5 --skill social=5 --config "$config"
}
mkdir -p data
add fuzhou 1001 "示范座席 1001" >/dev/null
add quanzhou 2001 "示范座席 2001" >/dev/null

# The first `listen` of the file is the API's.
page=$(sed -n 's/^listen *= *"\([^"]*\)".*/\1/p' "$config" | head -n 1)
cat <<END

  Open    http://$page/#token=demo-lead-token

  A phone of your own (any SIP softphone, UDP) as agent 1001:
    user 1001   password demo-1001   domain fuzhou.12345.example   outbound proxy 127.0.0.1:5060
  then press 示闲 (Ready) on the page. To be a citizen, call sip:12345@127.0.0.1:5060

END
