# From what a benchmark prints to rows: benchmark, figure, value, target, conditions, with tabs between.
BEGIN { OFS = "\t" }
/^row\t/ { sub(/^row\t/, ""); print bench, $0; next }
# criterion: "name   time:   [low unit middle unit high unit]", the name on a line of its own when it is long.
/time: +\[/ && !/%/ {
	name = $1 == "time:" ? last : $0
	sub(/ +time:.*/, "", name)
	values = $0
	sub(/.*\[/, "", values)
	sub(/\].*/, "", values)
	split(values, part, " ")
	print bench, name, part[3] " " part[4], target(name), "middle of criterion's estimate; " part[1] " to " part[5] " " part[6]
}
{ last = $0 }
function target(name) {
	if (name ~ /rsip/) return "the reference"
	if (name ~ /parse|read/) return "≤ 1.5 µs"
	return "–"
}
