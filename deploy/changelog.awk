# Puts fragments of changes/ in order: a heading for each program, and below it what belongs to it, as the files are. An item begins with
# "- PROGRAM, PROGRAM:" and goes on in lines that are indented.
function section(programs) {
  if (programs ~ /^(docs|deploy|make)/) return 6
  daemons = (programs ~ /brokerd/) + (programs ~ /lookupd/) + (programs ~ /admind?([, ]|$)/)
  if (programs ~ /^all daemons/ || daemons > 1) return 1
  if (programs ~ /^brokerd/) return 2
  if (programs ~ /^lookupd/) return 3
  if (programs ~ /^admind?([, ]|$)/) return 4
  return 5
}
BEGIN {
  split("All daemons;brokerd;lookupd;admind;brokerctl and the tools;Packages and documentation", names, ";")
}
/^- / { at = section(substr($0, 3, index($0, ":") - 3)) }
/^$/ { next }
{
  if (!at) { print "a fragment must begin with \"- PROGRAM: \", not with: " $0 > "/dev/stderr"; failed = 1; exit 1 }
  text[at] = text[at] $0 "\n"
}
END {
  if (failed) exit 1
  for (i = 1; i <= 6; i++) if (text[i]) printf "%s### %s\n\n%s", (begun++ ? "\n" : ""), names[i], text[i]
}
