// Command tail is nsq_tail's equal; see package brokerd/apps/internal/tail.
package main

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/tail"
)

func main() { appkit.Main(tail.Command) }
