package metrics

import (
	"time"

	"brokerd/lookup/registry"
	"brokerd/protocol/exposition"
	"brokerd/protocol/release"
)

// Snapshot is a lookup at one moment.
type Snapshot struct {
	registry.Figures
	Version         string
	Began           time.Time
	Certificate     time.Time // when the listeners' ends; zero without TLS
	CertificateFrom time.Time // when it begins
	Connections     int
	Accepted        uint64            // connections of brokers, since the start
	Refused         map[string]uint64 // commands by their error code
}

// New returns the lookup's metrics; snapshot is called at each scrape.
func New(snapshot func() Snapshot) *exposition.Set {
	f := newFamilies()
	return exposition.NewSet(f.all(), func(s *exposition.Scrape) { f.fill(s, snapshot()) })
}

// Families returns what a lookup exports, for its documentation.
func Families() []*exposition.Family {
	f := newFamilies()
	return f.all()
}

type families struct {
	info, start, brokers, topics, channels, registrations, tombstoned, tombstones *exposition.Family
	connections, accepted, refused, certificate, certificateFrom                  *exposition.Family
}

func newFamilies() *families {
	family := func(kind exposition.Kind, name, help string, labels ...string) *exposition.Family {
		return &exposition.Family{Name: "lookupd_" + name, Kind: kind, Help: help, Labels: labels}
	}
	gauge, counter := exposition.Gauge, exposition.Counter
	return &families{
		info:            family(gauge, "build_info", "always 1; its labels are the version of NSQ that is spoken, and the build's release, commit and Go", "version", "release", "commit", "go"),
		start:           family(gauge, "start_time_seconds", "when the lookup began to start, seconds since 1970"),
		brokers:         family(gauge, "brokers", "brokers that are registered, by state: active, or silent for longer than --inactive-producer-timeout", "state"),
		topics:          family(gauge, "topics", "topics that are known"),
		channels:        family(gauge, "channels", "channels that are known, each counted once for all brokers"),
		registrations:   family(gauge, "registrations", "topics of brokers, each topic counted for each broker that has it"),
		tombstoned:      family(gauge, "registrations_tombstoned", "topics of brokers that are hidden by a tombstone"),
		tombstones:      family(gauge, "tombstones_waiting", "tombstones that wait for a broker or topic that is away"),
		certificate:     family(gauge, "certificate_expiry_timestamp_seconds", "when the certificate of the listeners ends, seconds since 1970; absent without TLS"),
		certificateFrom: family(gauge, "certificate_start_timestamp_seconds", "when the certificate of the listeners begins to be valid, seconds since 1970: later than now, peers refuse it; absent without TLS"),
		connections:     family(gauge, "connections", "connections of brokers that are open"),
		accepted:        family(counter, "connections_total", "connections of brokers that were accepted"),
		refused:         family(counter, "refused_commands_total", "commands of brokers that were answered with an error, by its code", "code"),
	}
}

func (f *families) all() []*exposition.Family {
	return []*exposition.Family{f.info, f.start, f.brokers, f.topics, f.channels, f.registrations, f.tombstoned, f.tombstones, f.connections,
		f.accepted, f.refused, f.certificate, f.certificateFrom}
}

func (f *families) fill(s *exposition.Scrape, n Snapshot) {
	b := release.This()
	s.Value(f.info, 1, n.Version, b.Version, b.Commit, b.Go)
	s.Value(f.start, float64(n.Began.UnixNano())/float64(time.Second))
	s.Value(f.brokers, float64(n.Active), "active")
	s.Value(f.brokers, float64(n.Silent), "silent")
	s.Value(f.topics, float64(n.Topics))
	s.Value(f.channels, float64(n.Channels))
	s.Value(f.registrations, float64(n.Registrations))
	s.Value(f.tombstoned, float64(n.Tombstoned))
	s.Value(f.tombstones, float64(n.Tombstones))
	s.Value(f.connections, float64(n.Connections))
	s.Value(f.accepted, float64(n.Accepted))
	if !n.Certificate.IsZero() {
		s.Value(f.certificate, float64(n.Certificate.UnixNano())/float64(time.Second))
		s.Value(f.certificateFrom, float64(n.CertificateFrom.UnixNano())/float64(time.Second))
	}
	for code, count := range n.Refused {
		s.Value(f.refused, float64(count), code)
	}
}
