// Package cmdkit is what the daemons' main packages share: it resolves their settings, builds their logger and runs them
// until a signal. A main package is a [Program] that names its settings and makes its daemon. The tools, whose flags are simpler and
// which are no daemons, share the form of the log and of the help.
//
// A setting has one name and four sources, strongest first: the flag --msg-timeout, the environment variable
// BROKERD_MSG_TIMEOUT, the key msg_timeout of the TOML file that --config names, the default that stands in the variable
// before. The strongest source that gives a value is the only one that is read; a list is taken from one source as a whole.
// An empty value is none, as that is what scripts and manifests make of a variable that is not set, unless the setting has
// a meaning for it (Setting.EmptyCounts).
//
// What NSQ's files and scripts rely on is kept: one or two dashes; in the file, durations are strings ("60s") or whole
// milliseconds, lists are arrays or one comma-separated string; list flags are repeated. Unknown keys of the file and unknown variables
// that begin with the program's name stop nothing: each is warned of, with the known name that it is closest to.
//
// The package knows no daemon and holds none of their ranges: it only turns text into values and says which source a
// wrong one came from. Serve is a daemon's life: which signals end it, and how. A wrong setting is one line on stderr and exit code 2; a failure while running is exit code 1.
package cmdkit
