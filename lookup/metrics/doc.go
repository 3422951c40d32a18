// Package metrics is what a lookup tells Prometheus at /metrics: the families, and how the figures of the registry and the server
// become their values. It is handed a [Snapshot] at each scrape, counts nothing and steers nothing.
package metrics
