// Command bench puts load on a broker that speaks NSQ's protocol and measures it.
package main

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/bench"
)

func main() { appkit.Main(bench.Command) }
