// Package policy is the options of topics and channels: their names, the values they can have, where a value comes from, and what
// follows for one channel. It is pure: no lock, no clock, no log.
//
// Table is the one list of options. An option is set by a call for one topic or channel (Set), or by a pattern of the configuration
// for all whose name fits (Pattern). What counts is the first of these that says something:
//
//	of a channel   set for it, the first pattern that fits it, set for its topic, the first pattern that fits its topic, the default
//	of a topic     set for it, the first pattern that fits it, the default
//
// What counts for a channel is a Policy, nil when every option has its default, so that what nobody uses costs one look at a pointer.
package policy
