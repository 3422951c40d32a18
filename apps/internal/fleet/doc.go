// Package fleet asks many brokers and lookups over HTTP at once, for the tools that look after them.
//
// It finds brokers by their addresses or through lookups, and keeps what answered apart from what did not: every failure
// comes with the address that it belongs to, and takes nothing from the other answers. Addresses are host:port or URLs.
//
// It holds no state of its own but connections, and starts no goroutine that outlives a call.
package fleet
