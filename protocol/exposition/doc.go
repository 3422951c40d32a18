// Package exposition is the form in which the daemons show their metrics: families that are written down once, Prometheus' text
// format at GET /metrics, and the tables of docs/METRICS.md, which are made of the same families.
//
// It knows no daemon and counts nothing. A [Set] is what one daemon exports: a function that fills it is called at each scrape, reads
// snapshots, and changes nothing. Beside what a daemon says of itself each set has the figures of the process and of Go's runtime
// that client_golang collects.
package exposition
