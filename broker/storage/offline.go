package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// Stopped is what the folder of a node that does not run adds up to. Nothing in the folder is changed, nothing is open.
type Stopped struct {
	Registry   *topic.Registry // the topics that are in the log; it must not be started, published to or closed
	Recovery   *topic.Recovery
	Checkpoint string // name of the one that a start would use, empty for none
	Log        wal.Report
	Missing    []string // what is not there although it belongs to the folder: a start refuses; for people
	Damage     []string // what a start could not read of the checkpoints and the log, for people
	Leftovers  []string // unfinished ends of the log: a crash or a power cut leaves them, and nothing is lost with them
	Unknown    []string // paths of what a start puts aside since nobody knows it

	engine  *Engine
	damages map[uint32][]string // of segments, by topic
}

// IDs returns the manifest's copy of the bound of message ids, 0 when it has none.
func (s *Stopped) IDs() uint64 { return s.engine.IDs() }

// Groups returns how many groups of replicas of topics have a replica here, in which nobody looks.
func (s *Stopped) Groups() (n int) {
	for _, g := range s.engine.folder.current().Groups {
		if g.Number > 0 { // 0 has the cluster's map
			n++
		}
	}
	return n
}

// Read reads the folder of a node that does not run, as a start would, and goes on as a repair would where that would refuse because
// something is missing. Listed is for that, as in Options. Log gets what the topics say while they are read. It fails with
// ErrVersion, and with what the file system says.
func Read(files vfs.FS, dir string, memQueueSize int, listed []*journal.Topic, log *slog.Logger) (*Stopped, error) {
	s := newStopped(Options{FS: readOnly{files}, Dir: dir, Listed: listed, Log: log, Thorough: true})
	if Exists(dir) {
		if err := s.readState(); err != nil {
			return nil, err
		}
	}
	s.Registry = topic.NewRegistry(topic.Config{MemQueueSize: memQueueSize, Journal: noLog{}, Segments: offlineSegments{s}, Log: log, Scan: s.scan})
	if err := s.Registry.Recover(s.Recovery); err != nil {
		return nil, err
	}
	return s, nil
}

// scan gives f all records that the log has, those too that the checkpoint has made superfluous.
func (s *Stopped) scan(ctx context.Context, f func(journal.Offset, journal.Kind, []byte) error) error {
	o := s.engine.o
	_, err := wal.Read(o.FS, filepath.Join(o.Dir, logFolder), wal.Need{AcceptLoss: true}, func(e wal.Entry) error {
		if e.Kind == byte(kindProbe) {
			return ctx.Err()
		}
		return errors.Join(ctx.Err(), f(e.At, journal.Kind(e.Kind), e.Data))
	})
	return err
}

func newStopped(o Options) *Stopped {
	s := &Stopped{engine: &Engine{o: o}, damages: map[uint32][]string{}}
	s.recoverFrom(journal.NewState())
	return s
}

func (s *Stopped) recoverFrom(state *journal.State) {
	s.Recovery = topic.NewRecovery(state)
	s.Recovery.Segments = offlineSegments{s}
}

// readState reads the newest checkpoint that can be read, and the log.
func (s *Stopped) readState() error {
	seen, lacks, err := s.readLog(false)
	if errors.Is(err, wal.ErrMissing) { // and what is there?
		seen, _, err = s.readLog(true)
	}
	if err != nil {
		return err
	}
	if len(seen.missing)+len(lacks) > 0 {
		if err := s.Recovery.Salvage(); err != nil {
			return err
		}
	}
	gone, err := s.engine.lackSegments(s.Recovery.State)
	if err != nil {
		return err
	}
	s.Checkpoint = seen.checkpoint
	s.Missing = slices.Concat(seen.missing, lacks, gone)
	for _, d := range seen.damaged {
		s.Damage = append(s.Damage, d+": a start uses the one before it, and nothing is lost")
	}
	for _, d := range s.Log.Damage {
		text := fmt.Sprintf("log file %s at byte %d, %d bytes: %s", d.File, d.At.Offset, d.Length, d.What)
		if d.Unsynced {
			s.Leftovers = append(s.Leftovers, text)
		} else {
			s.Damage = append(s.Damage, text+": a start goes on behind it")
		}
	}
	s.engine.opened.Log, s.engine.opened.Missing = s.Log, s.Missing
	err = s.engine.tidy(s.Recovery, seen)
	s.Unknown = s.engine.unknown
	return err
}

// readLog begins anew with the checkpoint and applies the log to it. With wal.ErrMissing it returns what the log lacks; with acceptLoss
// it goes on without that.
func (s *Stopped) readLog(acceptLoss bool) (seen *sight, lacks []string, err error) {
	o := s.engine.o
	if seen, err = lookAt(o.FS, o.Dir, false, o.Thorough); err != nil {
		return nil, nil, err
	}
	s.engine = newEngine(o, seen)
	s.recoverFrom(seen.state)
	if err := s.engine.stub(s.Recovery, seen); err != nil {
		return nil, nil, err
	}
	need := seen.need()
	need.AcceptLoss = acceptLoss
	if s.Log, err = wal.Read(o.FS, filepath.Join(o.Dir, logFolder), need, func(e wal.Entry) error {
		return o.applyRecord(e, seen.from, s.apply)
	}); err != nil {
		err = fmt.Errorf("reading the log: %w", err)
	}
	return seen, s.Log.Missing, err
}

func (s *Stopped) apply(e wal.Entry) error {
	err := s.Recovery.Apply(e.At, journal.Kind(e.Kind), e.Data)
	if errors.Is(err, journal.ErrRecord) {
		s.Damage = append(s.Damage, fmt.Sprintf("log record at %v: %v: a start passes over it", e.At, err))
		return nil
	}
	return err
}

// TopicFiles returns how many segment files a topic has, those that were put aside not counted, and what of them cannot be read.
func (s *Stopped) TopicFiles(name string) (files int, damage []string, err error) {
	for id, t := range s.Recovery.State.Topics {
		if t.Name != name {
			continue
		}
		names, err := s.engine.o.FS.List(segments{s.engine}.dir(id))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, nil, fmt.Errorf("listing segments: %w", err)
		}
		for _, n := range names {
			if strings.HasSuffix(n, ".seg") {
				files++
			}
		}
		return files, s.damages[id], nil
	}
	return 0, nil, nil
}

// offlineSegments opens segments, which changes nothing, and keeps what is damaged.
type offlineSegments struct{ s *Stopped }

func (o offlineSegments) Open(id uint32, name string, whole map[uint32]int64) (*segment.Store, []segment.Block, []segment.Damage, error) {
	store, blocks, damage, err := segments{o.s.engine}.Open(id, name, whole)
	for _, d := range damage {
		o.s.damages[id] = append(o.s.damages[id], d.String())
	}
	return store, blocks, damage, err
}

// errOffline is a write to what is only read.
var errOffline = errors.New("the folder is only read")

// readOnly is a file system in which nothing can be changed.
type readOnly struct{ vfs.FS }

func (readOnly) Create(string) (vfs.File, error)    { return nil, errOffline }
func (readOnly) OpenWrite(string) (vfs.File, error) { return nil, errOffline }
func (readOnly) Remove(string) error                { return errOffline }
func (readOnly) Rename(string, string) error        { return errOffline }
func (readOnly) Link(string, string) error          { return errOffline }
func (readOnly) MkdirAll(string) error              { return errOffline }

// noLog is the log of topics of a stopped node: what is changed in memory to read them is for this process alone.
type noLog struct{}

func (noLog) Append(journal.Kind, []byte, []byte) journal.Offset { return journal.Offset{} }
func (noLog) Commit(journal.Offset, bool) error                  { return nil }
func (noLog) End() journal.Offset                                { return journal.Offset{} }
func (noLog) Err() error                                         { return nil }
func (noLog) Gap() error                                         { return nil }
