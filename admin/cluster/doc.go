// Package cluster knows any number of lookups and brokers: it asks them over HTTP, in parallel and with a deadline each, keeps
// each one's last good answer with its age, and adds the answers up.
//
// It owns what is known of the cluster (View), what is asked for a moment's need (live.go), and how an act is carried to all
// daemons that it concerns (act.go). It never decides who may act, and keeps no past but the answer before the last, from
// which rates come. Brokers are nsqd or brokerd; what only brokerd has is optional.
//
// # How it is asked
//
// One loop, Run, asks every lookup for its nodes and topics, then every broker for its statistics, without clients and heap
// figures, each round. A daemon whose answer is still out is not asked again, and a round does not wait for it beyond
// Config.Round. The next round begins when the interval is over, or after five times what the round took, whichever is
// later, so that the asking never takes more than a fifth of the time. What a round found is a View, which nobody changes any
// more: readers take the newest without a lock.
//
// Questions of the moment (a topic's clients, say) go only to the brokers concerned, are given up after Patience where a last
// good answer can stand in, and spare brokers that did not answer in the last round; so are lookups. So a page never waits for
// a daemon that hangs.
//
// # Locks
//
// Cluster.mu guards the daemons' states; nothing is asked, sent or logged under it.
package cluster
