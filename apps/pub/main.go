// Command pub publishes the lines of its input: it is brokerd's to_nsq. See apps/internal/pub.
package main

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/pub"
)

func main() { appkit.Main(pub.Command) }
