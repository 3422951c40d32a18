package main

import (
	"os"

	"brokerd/broker"
	"brokerd/cmd/cmdkit"
)

func main() { os.Exit(run(cmdkit.NewProcess())) }

// run is brokerd from its arguments to its exit code.
func run(proc cmdkit.Process) int {
	defer keepSmall()()
	opts := broker.DefaultOptions()
	return program(&opts).Run(proc)
}
