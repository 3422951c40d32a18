// Package standard runs the project's own scenarios on brokers that it starts itself, and writes the figures of
// docs/BENCHMARKS.md.
//
// Each scenario gets a fresh process and an empty folder, on loopback. Scenarios are run in rounds, in which the brokers
// take turns and the first of them changes, so that what a machine does meanwhile hits all of them alike; medians count.
// The package owns the list of scenarios, the processes and the page; loads are package load's.
package standard
