// Command brokerd is the message broker: it takes nsqd's flags and configuration file, and adds the environment.
//
// It resolves and validates the options, builds the logger, runs broker.Server until a signal, and gives the exit code: 0
// after an orderly stop, 1 when the broker failed, 2 when it was told something wrong. The verbs check, export and trace look at a stopped
// broker's folder instead; their exit codes mean the same, and check's is 1 for damage.
//
// It holds no logic of a broker. What it decides is how the process uses the machine: when garbage is collected and memory is given
// back, and how many threads run.
//
// nsqd.toml in testdata has every key that nsqd knows; a test holds what each becomes.
package main
