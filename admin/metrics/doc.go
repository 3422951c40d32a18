// Package metrics is what an admind tells Prometheus at /metrics: what it knows of the cluster, how long it takes to ask, and who has
// acted. It is handed a [Snapshot] at each scrape, counts nothing and steers nothing. Figures of single topics are not repeated here:
// the brokers tell them.
package metrics
