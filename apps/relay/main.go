// Command relay is nsq_to_nsq's equal; see package brokerd/apps/internal/relay.
package main

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/relay"
)

func main() { appkit.Main(relay.Command) }
