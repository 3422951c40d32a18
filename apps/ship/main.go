// Command ship follows log files and publishes their lines. See apps/internal/ship.
package main

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/ship"
)

func main() { appkit.Main(ship.Command) }
