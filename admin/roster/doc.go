// Package roster keeps on disk which brokers an admind has seen, and what was on each when it last answered, so that one that died while
// nobody looked is missed all the same.
//
// It owns the file and when it is written; what is known of brokers is cluster's. Roster has one goroutine, Run.
//
// # File
//
// JSON in UTF-8, one object:
//
//	{"format": "admind-roster", "version": 1, "brokers": [BROKER, ...]}
//
// A BROKER has its address, who it says it is, when it last answered, and the topics and channels on which messages were that
// nobody had finished, by their counts. At most mostTopics are kept of all brokers, those with the most messages. The file is
// replaced as a whole, synced before it takes the name of the one before: it is never half of anything. One that cannot be understood is
// put aside under the name PATH.bad, and a new one begun. One admind writes one file.
//
// It is written when a broker comes, stops answering, answers again or is dismissed, and otherwise every writeEvery as long as
// figures change.
package roster
