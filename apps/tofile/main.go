// Command tofile writes topics to files: it is brokerd's nsq_to_file. See apps/internal/tofile.
package main

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/tofile"
)

func main() { appkit.Main(tofile.Command) }
