// Package metrics is what a broker tells Prometheus at /metrics: the families, and how a snapshot of the broker becomes their values.
//
// It watches and never steers: it is handed a [Snapshot] at each scrape and holds no part of the broker. Counting is done where things
// happen; nothing is counted here. The families stand in families.go with their help, of which docs/METRICS.md is made.
//
// Topics and channels have series of their own up to a limit of topics. The others are one sum, whose labels are empty: it never
// falls while the process lives, although topics come and go, and no topic moves between it and the ones that are told one by one.
package metrics
