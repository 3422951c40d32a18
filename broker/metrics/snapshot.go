package metrics

import (
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/wal"
)

// Snapshot is a broker at one moment.
type Snapshot struct {
	Version         string    // of NSQ
	Began           time.Time // when it began to start
	Healthy         bool
	Ready           bool
	Draining        bool
	Topics          []topic.Stats // sorted by name
	Connections     int
	Accepted        uint64            // connections, since the start
	Refused         map[string]uint64 // commands by their error code
	TurnedAway      TurnedAway
	Lookups         []Lookup
	Disk            Disk
	SetAside        int
	Log             *Log      // nil when no log is kept
	Certificate     time.Time // when the listeners' ends; zero without TLS
	CertificateFrom time.Time // when it begins
	Reloads         Reloads
	Traces          Traces
	Browsed         Browsed
	Cluster         *Cluster // nil when the broker is in none
}

// Lookup is one lookup that the broker registers with.
type Lookup struct {
	Address   string
	Connected bool
}

// Disk is the file system of the data folder.
type Disk struct {
	Total, Free, MinFree uint64        // bytes; zero when the system does not tell
	Publishes, Others    time.Duration // for which the oldest call is out that publishes wait for, and of those that none waits for; 0 for none
}

// Log is the node's log. Counters are of this life of the broker.
type Log struct {
	Records, Lost, Bytes, Writes, Syncs uint64
	FileBytes                           int64
	Unsynced                            int64 // bytes that are written and not synced
	SyncTime                            time.Duration
	SyncTimes                           wal.SyncTimes
	Checkpoints, CheckpointsFailed      uint64
	CheckpointAt                        time.Time // the last good one of this life; zero when there was none
	CheckpointTime                      time.Duration
	Compactions, CompactionsFailed      uint64
	Compacted                           uint64 // bytes that were read
	CompactionTime                      time.Duration
	RecoveryTime                        time.Duration // of the start
	RecoveredRecords                    int           // that the start read
	DamagedPlaces                       int           // that it could not
	SegmentNodes                        int64         // blocks of messages on disk outside of the log
}

// Reloads is how often settings were read anew.
type Reloads struct {
	Good, Bad uint64
	LastGood  bool // the last one was taken, or there was none
}

// Browsed is how many requests have looked at messages without taking them, and through how many bytes.
type Browsed struct{ Requests, Bytes uint64 }

// Traces is what became of spans.
type Traces struct{ Sent, Dropped uint64 }

// TurnedAway is how many connections were refused because of --max-connections or --max-connections-per-address.
type TurnedAway struct{ Clients, HTTP uint64 }
