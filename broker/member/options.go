package member

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"time"

	"brokerd/broker/replica"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/wal"
)

// Store keeps what a node must not forget. storage.Engine is one.
type Store interface {
	// Kept returns what the manifest says.
	Kept() ([]manifest.Group, json.RawMessage)
	// Keep replaces the manifest, synced. The change is made under a lock of the store.
	Keep(change func(*manifest.Manifest)) error
	// WriteGroup writes a checkpoint of a group, the parts one behind the other, under a new number, synced.
	WriteGroup(group uint32, content ...[]byte) (manifest.GroupCheckpoint, error)
	// ReadGroup reads one.
	ReadGroup(group uint32, c manifest.GroupCheckpoint) ([]byte, error)
}

// NodeLog is the node's log. wal.Log is one.
type NodeLog interface {
	replica.Log
	End() wal.Offset
	Stats() wal.Stats
}

// Options says what a member is.
type Options struct {
	Name    string   // of the cluster that it is to found, or to join
	Node    string   // its own, for people
	Zone    string   // replicas go to different ones where they can
	Address string   // host:port that others dial
	Peers   []string // addresses of those that found the cluster, its own among them; they do not matter once there is one
	Folder  string   // id of the data folder

	TLS    *tls.Config                                                 // of links: both sides show a certificate; nil: without
	Secret []byte                                                      // that all members know; nil: none
	Dialer func(ctx context.Context, address string) (net.Conn, error) // nil: over TCP

	Election time.Duration // after which a leader is missed, up to twice as long; 800 ms
	Wait     time.Duration // what a command may take; 5 s
	Fast     bool          // a leader whose process is known to be dead is missed at once
	Pace     time.Duration // between two looks at what is to be done; 1 s, half of that while there is no cluster
	BulkRate int           // bytes a second of what groups of topics hold that are sent to one node, while nobody waits for that; 50 MiB
	Piece    int           // bytes of what a group of topics holds that are sent at a time; 1 MiB
	Behind   int64         // bytes of the node's log from which on nothing more is kept for replicas of groups of topics that lack it; 512 MiB

	Stand func() // is called by the clock of groups at each beat, and holds it up for as long as the process is to stand, in a simulation; nil: it never does

	Store    Store
	Journal  NodeLog                              // the node's log
	Recovery *replica.Recovery                    // what it has of groups
	Report   *wal.Report                          // what its reader says
	Shard    ShardOf                              // makes what groups of topics add up to; nil: they do not run here
	Receive  func(group uint32) (Receiver, error) // begins to take what a group of topics adds up to on another node
	Named    func(name string, is bool)           // is told which names replicated topics have, and have no more, before anybody finds the map so; nil: nobody is. It waits for nothing
	Waits    func() map[string]string             // what this node alone has and cannot give way to a replicated topic of its name, and why, by names; nil: nothing
	Number   func(int)                            // is told which number the map gives this node, 0 to 1023, and when that changes; nil: nobody is. It waits for nothing
	Log      *slog.Logger                         // nil: nothing is logged

	Skew time.Duration // what tests set the clock by that other members are told of
}

// tick is the clock of group 0.
const tick = 50 * time.Millisecond

// normalize fills in what is missing.
func (o *Options) normalize() error {
	if o.Election == 0 {
		o.Election = 800 * time.Millisecond
	}
	if o.Wait == 0 {
		o.Wait = 5 * time.Second
	}
	if o.Pace == 0 {
		o.Pace = time.Second
	}
	if o.Piece == 0 {
		o.Piece = 1 << 20
	}
	if o.Behind == 0 {
		o.Behind = 512 << 20
	}
	if o.Stand == nil {
		o.Stand = func() {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Name == "" || o.Address == "" || o.Folder == "" || o.Store == nil || o.Journal == nil || o.Recovery == nil || o.Report == nil {
		return errors.New("a member needs a cluster's name, an address, a folder, and where to keep what it must not forget")
	}
	return plain(o.Name, o.Node, o.Zone, o.Address)
}
