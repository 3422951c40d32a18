// Package admin is the operators' daemon: nsqadmin's API and a web page over any number of brokers and lookups.
//
// Server owns the listener and the life of everything behind it. What is known of the cluster is cluster's, what pages show of it
// is views', the past is history's, which brokers were ever seen roster's, what needs attention attention's, who may do what is access's, what was done is audit's, and
// HTTP is httpd's. Nothing but the audit log and the roster is on disk.
//
// # Goroutines
//
// One serves HTTP, one asks the daemons, two make views, one writes the roster, one sends notifications, and each request has net/http's; Start starts
// them, Shutdown stops and joins them.
package admin
