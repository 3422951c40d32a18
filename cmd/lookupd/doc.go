// Command lookupd tells consumers which brokers carry a topic: it takes nsqlookupd's flags and configuration file, and adds
// the environment.
//
// It resolves and validates the options, builds the logger, runs lookup.Server until a signal, and gives the exit code: 0
// after an orderly stop, 1 when the lookup failed, 2 when it was told something wrong. It holds no logic of its own.
package main
