// Package bench is the load tool: its command line, and its results as a table or JSON.
//
// It owns the flags of each load, the table a person reads, and the comparison of two brokers. What load is and how it is
// measured is package load's; starting brokers and writing the project's own figures is package standard's.
package bench
