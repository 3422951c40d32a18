// Package definitions is the form of a file that says which topics and channels a cluster has: reading it, checking it, writing it. It is
// pure, and never asks a daemon: what differs from a file, and what is done about it, brokerctl decides.
package definitions
