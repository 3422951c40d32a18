package protocol

// Version is what every daemon and tool tells as its own. NSQ's tools compare it between nodes, and clients may judge by it what a
// daemon can do, so it is the version of NSQ whose behaviour is kept.
const Version = "1.3.0"
