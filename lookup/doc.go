// Package lookup is the discovery daemon: brokers register with it which topics they have, consumers ask it where to go.
//
// Server owns the two listeners, the goroutine of every connection, and the life of everything behind them. What is known is
// registry's, a broker's connection is session's, HTTP is httpd's. Nothing is on disk: after a restart the brokers say all of
// it again, within one ping interval. Several lookups know nothing of each other.
//
// # Goroutines
//
// One accepts brokers, one serves HTTP, and one is each broker connection's; Start and the accepting one start them, Shutdown
// stops and joins them.
package lookup
