// Command tohttp is nsq_to_http's equal; see package brokerd/apps/internal/tohttp.
package main

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/tohttp"
)

func main() { appkit.Main(tohttp.Command) }
