// Command brokerctl is every tool in one binary, and verbs for topics, channels and nodes; see package
// brokerd/apps/internal/brokerctl.
package main

import (
	"os"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/brokerctl"
)

func main() { os.Exit(brokerctl.Run(appkit.NewProcess(), os.LookupEnv)) }
