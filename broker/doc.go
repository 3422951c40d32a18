// Package broker is the queueing daemon: it composes its rooms, serves, and shuts down.
//
// Server owns the listeners and the life of everything behind them. It holds no queue logic: topic moves messages,
// session speaks to clients, httpd answers HTTP, metadata keeps the list of topics on disk, registrar tells the lookups.
package broker
