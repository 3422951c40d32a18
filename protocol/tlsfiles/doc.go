// Package tlsfiles serves certificates from files that change while they are served.
//
// A [Pair] looks whether its files changed when a connection is made, once a second at most, and takes what they hold then: a renewed
// certificate is shown by the next handshake without a signal, also when only a symbolic link was moved. What cannot be read, such as a
// certificate without its key, changes nothing and is told once. Connections that are open go on.
package tlsfiles
