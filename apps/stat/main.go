// Command stat is nsq_stat's equal; see package brokerd/apps/internal/stat.
package main

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/stat"
)

func main() { appkit.Main(stat.Command) }
