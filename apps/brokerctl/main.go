// Command brokerctl looks after brokers and is every tool; see package brokerd/apps/internal/brokerctl.
package main

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/brokerctl"
)

func main() { appkit.Main(brokerctl.New()) }
