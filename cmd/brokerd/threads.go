package main

import (
	"os"
	"runtime"

	"brokerd/broker"
)

// levelFsync is the name of the level at which a publish waits for a sync.
const levelFsync = "fsync"

// setProcessors decides how many threads run Go code, unless GOMAXPROCS in the environment says it.
//
// While the node's level is fsync it is one more than there are cores. A thread that syncs the log keeps its place for some time
// although it only waits for the disk; with few cores all the others lacked it: on two, 32 producers got 59.7 thousand messages a
// second in place of 55.8, and their longest wait was 4.7 ms in place of 12.9, for 6 % more processor time a message. At other
// levels, and in a cluster, it may be one more at times, see storage.Options.Anchor: a lone broker at fsync gains nothing by that, one in a cluster, which waits for
// others as well, a fifth.
func setProcessors(o *broker.Options) {
	switch {
	case os.Getenv("GOMAXPROCS") != "":
	case o.Durability.String() == levelFsync:
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
		o.Anchor, o.Processors = o.ClusterName != "", 1
	default:
		o.Anchor = true
	}
}
