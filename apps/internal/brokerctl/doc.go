// Package brokerctl is every tool in one binary, and the verbs that look after topics, channels and nodes over the daemons'
// HTTP APIs.
//
// A verb finds the daemons that it concerns, asks all of them at once, and tells what each one answered: one that fails does not
// keep the others from being asked, is named, and makes the exit code 1. Lookups come before brokers, so that a topic which
// is deleted is not announced anew.
//
// Words for a shell to complete come from the same tables as the commands; see [Complete].
package brokerctl
