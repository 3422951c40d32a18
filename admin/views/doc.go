// Package views makes what the pages show: one JSON body per page, from the newest state of the cluster, what it adds of its own
// (history, what needs attention), and, for the pages of a topic, channel, node and the consumers, questions of the moment.
//
// It owns the keys of GET /api/view/... and /api/history; nsqadmin's own bodies are compat's. It decides nothing about who may
// see them. Maker has two goroutines, both Run's: one records the history and judges what needs attention whenever there is a newer
// state, the other lists all consumers when somebody asks, which takes long in a large cluster: nobody waits for that list beyond
// listPatience.
package views
