// Package appkit is what every tool stands on: a command with its flags and help, the logger, signals and exit codes, and
// what tools do with brokers and lookups: consume, publish, discover, wait, count and show.
//
// A tool is a [Command] value in a package of its own below apps/internal. Its main package runs it with [Main], and the one
// binary that has all of them with [Run]:
//
//	var Command = appkit.Command{
//		Name:    "hello",
//		Summary: "print a greeting",
//		Help:    "hello prints a greeting to its standard output.",
//		Example: "hello --to=world",
//		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
//			to := flags.String("to", "", "the `name` to greet")
//			return func(ctx context.Context, env *appkit.Env) error {
//				if *to == "" {
//					return appkit.Usagef("--to is required")
//				}
//				_, err := fmt.Fprintln(env.Stdout, "hello", *to)
//				return err
//			}
//		},
//	}
//
// # Flags
//
// They have NSQ's names, with one or two dashes, and may be repeated where NSQ's may. --config names a TOML file whose keys
// are the flags' names with - as _; a flag that is given replaces what the file says, a list as a whole. Durations in the file
// are strings or whole milliseconds. Keys that mean nothing to the tool are ignored, so that tools may share a file.
//
// # Ending
//
// The first SIGINT or SIGTERM cancels the context, a second one ends the process at once. Exit codes: 0 for done, or stopped by
// a signal; 1 for an error; 2 for a flag that cannot be understood.
//
// # What it never does
//
// It holds no state outside of the values it hands out, and starts no goroutine that has no Close, Stop or end with the run.
// It knows no tool, and daemons by their APIs only.
package appkit
