package cmdtest

import (
	"bytes"
	"os"

	"brokerd/cmd/cmdkit"
)

// Call runs a command in this process, with the signals waiting already, and returns its exit code and what it wrote.
func Call(run func(cmdkit.Process) int, args []string, env map[string]string, signals ...os.Signal) (code int, stdout, stderr string) {
	var out, log bytes.Buffer
	pending := make(chan os.Signal, len(signals))
	for _, s := range signals {
		pending <- s
	}
	proc := Told(args, env)
	proc.Stdout, proc.Stderr, proc.Signals = &out, &log, pending
	code = run(proc)
	return code, out.String(), log.String()
}

// Told is a process with these arguments and this environment, and no more.
func Told(args []string, env map[string]string) cmdkit.Process {
	proc := cmdkit.Process{Args: args}
	for name, text := range env {
		proc.Environ = append(proc.Environ, name+"="+text)
	}
	return proc
}
