// Command admind serves the operators' web page and nsqadmin's HTTP API over any number of brokers and lookups: it takes nsqadmin's
// flags and configuration file, and adds the environment.
//
// It resolves and validates the options, builds the logger, runs admin.Server until a signal, and gives the exit code: 0 after
// an orderly stop, 1 when it failed, 2 when it was told something wrong. It holds no logic of its own.
package main
