package roster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"brokerd/admin/cluster"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/wholefile"
)

const (
	format  = "admind-roster"
	version = 1

	// writeEvery is for how long figures may be newer than the file.
	writeEvery = 30 * time.Second
	// mostTopics is how many topics are kept of all brokers together.
	mostTopics = 20000
	// mostBytes is how large a file is read.
	mostBytes = 64 << 20
)

// file is what the file has.
type file struct {
	Format  string   `json:"format"`
	Version int      `json:"version"`
	Brokers []broker `json:"brokers"`
}

type broker struct {
	Address          string  `json:"address"`
	BroadcastAddress string  `json:"broadcast_address"`
	Hostname         string  `json:"hostname"`
	TCPPort          int     `json:"tcp_port"`
	HTTPPort         int     `json:"http_port"`
	Version          string  `json:"version"`
	TopologyZone     string  `json:"topology_zone,omitempty"`
	TopologyRegion   string  `json:"topology_region,omitempty"`
	Kind             string  `json:"kind"` // brokerd or nsqd
	At               int64   `json:"at"`   // ms since the Unix epoch, of its last answer
	Topics           []topic `json:"topics,omitempty"`
}

type topic struct {
	Name     string    `json:"name"`
	Depth    int64     `json:"depth,omitempty"`
	Disk     int64     `json:"backend_depth,omitempty"`
	Messages uint64    `json:"message_count,omitempty"`
	Paused   bool      `json:"paused,omitempty"`
	Channels []channel `json:"channels,omitempty"`
}

type channel struct {
	Name     string `json:"name"`
	Depth    int64  `json:"depth,omitempty"`
	Disk     int64  `json:"backend_depth,omitempty"`
	InFlight int    `json:"in_flight,omitempty"`
	Deferred int    `json:"deferred,omitempty"`
	Messages uint64 `json:"message_count,omitempty"`
	Paused   bool   `json:"paused,omitempty"`
}

// Roster is the file of one admind: Open, then Begin and Run once each.
type Roster struct {
	path string
	log  *slog.Logger
	kept []cluster.Kept // that Open found
	bad  error          // why Open did not understand it

	// Owned by Run.
	written time.Time
	members string // who was in the file, and who of them answered
}

// Open reads the file; it writes nothing. It fails when there is one that cannot be read.
func Open(path string, log *slog.Logger) (*Roster, []cluster.Kept, error) {
	r := &Roster{path: path, log: log}
	text, _, err := wholefile.Regular(path, mostBytes)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = os.Stat(filepath.Dir(path)); err == nil { // where it is to be
			return r, nil, nil
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("state file: %w", err)
	}
	r.kept, r.bad = decode(text)
	return r, r.kept, nil
}

// Begin writes the file, so that one that cannot be written is not found out about later. What Open could not understand it puts aside.
func (r *Roster) Begin() error {
	if r.bad != nil {
		aside := r.path + ".bad"
		r.log.Error("the state file cannot be understood: it is put aside, and brokers seen before are not known", "file", r.path, "aside", aside, "error", r.bad)
		if err := os.Rename(r.path, aside); err != nil {
			return fmt.Errorf("put the state file aside: %w", err)
		}
	}
	kept := r.kept
	r.kept = nil // the cluster has it
	return r.write(kept)
}

// Run writes what the cluster's views tell, until ctx ends, and then once more. A file that cannot be written is told in the log, and tried
// again with the next view.
func (r *Roster) Run(ctx context.Context, c *cluster.Cluster) {
	for {
		v, next := c.Next()
		if v.Seq > 0 {
			r.take(v, time.Now())
		}
		select {
		case <-next:
		case <-ctx.Done():
			if v := c.View(); v.Seq > 0 {
				r.store(v, time.Now())
			}
			return
		}
	}
}

// take writes a view if the time has come.
func (r *Roster) take(v *cluster.View, now time.Time) {
	if membersOf(v) != r.members || now.Sub(r.written) >= writeEvery {
		r.store(v, now)
	}
}

func (r *Roster) store(v *cluster.View, now time.Time) {
	if err := r.write(v.Kept()); err != nil {
		r.log.Error("the state file cannot be written: a restart will not know the brokers of now", "file", r.path, "error", err)
		return
	}
	r.written, r.members = now, membersOf(v)
}

// membersOf tells who is known, and who of them answers.
func membersOf(v *cluster.View) string {
	var b strings.Builder
	for _, n := range v.Nodes {
		if n.Known {
			fmt.Fprintf(&b, "%s %t\n", n.Address, n.Stale)
		}
	}
	return b.String()
}

// write replaces the file.
func (r *Roster) write(kept []cluster.Kept) (err error) {
	text, err := json.MarshalIndent(encode(kept), "", " ")
	if err != nil {
		return fmt.Errorf("encode the state file: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(r.path), filepath.Base(r.path)+".*") // only its owner may read it
	if err != nil {
		return fmt.Errorf("write the state file: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), r.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the state file: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// encode makes the file of what is kept.
func encode(kept []cluster.Kept) file {
	out := file{Format: format, Version: version, Brokers: []broker{}}
	least := leastKept(kept)
	for _, k := range kept {
		b := broker{Address: k.Address, BroadcastAddress: k.Producer.BroadcastAddress, Hostname: k.Producer.Hostname, TCPPort: k.Producer.TCPPort,
			HTTPPort: k.Producer.HTTPPort, Version: k.Producer.Version, TopologyZone: k.Producer.TopologyZone,
			TopologyRegion: k.Producer.TopologyRegion, Kind: "nsqd", At: k.At.UnixMilli()}
		if k.IsBroker {
			b.Kind = "brokerd"
		}
		for i := range k.Topics {
			if t := topicOf(&k.Topics[i]); t.left() >= least {
				b.Topics = append(b.Topics, t)
			}
		}
		out.Brokers = append(out.Brokers, b)
	}
	return out
}

// leastKept returns how many messages a topic must have on a broker to be kept, 0 when all are.
func leastKept(kept []cluster.Kept) int64 {
	var sizes []int64
	for _, k := range kept {
		for i := range k.Topics {
			t := topicOf(&k.Topics[i])
			sizes = append(sizes, t.left())
		}
	}
	if len(sizes) <= mostTopics {
		return 0
	}
	slices.Sort(sizes)
	return sizes[len(sizes)-mostTopics]
}

func topicOf(t *httpapi.Topic) topic {
	out := topic{Name: t.TopicName, Depth: t.Depth, Disk: t.BackendDepth, Messages: t.MessageCount, Paused: t.Paused}
	for _, c := range t.Channels {
		out.Channels = append(out.Channels, channel{Name: c.ChannelName, Depth: c.Depth, Disk: c.BackendDepth, InFlight: c.InFlightCount,
			Deferred: c.DeferredCount, Messages: c.MessageCount, Paused: c.Paused})
	}
	return out
}

func (t *topic) left() int64 {
	left := t.Depth
	for _, c := range t.Channels {
		left += c.Depth + int64(c.InFlight) + int64(c.Deferred)
	}
	return left
}

// decode reads a file.
func decode(text []byte) ([]cluster.Kept, error) {
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	if f.Format != format || f.Version != version {
		return nil, fmt.Errorf("it is %q of version %d, not %q of version %d", f.Format, f.Version, format, version)
	}
	var kept []cluster.Kept
	for _, b := range f.Brokers {
		k := cluster.Kept{Address: b.Address, IsBroker: b.Kind == "brokerd", At: time.UnixMilli(b.At),
			Producer: httpapi.Producer{BroadcastAddress: b.BroadcastAddress, Hostname: b.Hostname, TCPPort: b.TCPPort, HTTPPort: b.HTTPPort,
				Version: b.Version, TopologyZone: b.TopologyZone, TopologyRegion: b.TopologyRegion}}
		if k.Address == "" {
			return nil, errors.New("a broker has no address")
		}
		for _, t := range b.Topics {
			k.Topics = append(k.Topics, t.stats())
		}
		kept = append(kept, k)
	}
	return kept, nil
}

func (t *topic) stats() httpapi.Topic {
	out := httpapi.Topic{TopicName: t.Name, Depth: t.Depth, BackendDepth: t.Disk, MessageCount: t.Messages, Paused: t.Paused, Channels: []httpapi.Channel{}}
	for _, c := range t.Channels {
		out.Channels = append(out.Channels, httpapi.Channel{ChannelName: c.Name, Depth: c.Depth, BackendDepth: c.Disk, InFlightCount: c.InFlight,
			DeferredCount: c.Deferred, MessageCount: c.Messages, Paused: c.Paused})
	}
	return out
}
