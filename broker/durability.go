package broker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"

	"brokerd/broker/policy"
	"brokerd/broker/replica"
	"brokerd/broker/storage"
	"brokerd/broker/topic"
	"brokerd/diskqueue/nsqdata"
	"brokerd/diskqueue/vfs"
)

// Durability says when a publish is answered; see docs/GUARANTEES.md.
type Durability topic.Level

// String returns the level's name.
func (d Durability) String() string { return topic.Level(d).String() }

// Set takes a level's name.
func (d *Durability) Set(text string) error {
	l, err := topic.ParseLevel(text)
	*d = Durability(l)
	return err
}

// MinFree is how much of a disk must stay free: bytes, or a share of it, or the smaller of the two.
type MinFree struct {
	Bytes   uint64  // 0 with a share: only the share counts
	Percent float64 // 0: only the bytes count
}

// of returns the bytes that must stay free of a disk of total bytes.
func (m MinFree) of(total uint64) uint64 {
	share := uint64(float64(total) * m.Percent / 100)
	switch {
	case m.Percent == 0:
		return m.Bytes
	case m.Bytes == 0:
		return share
	}
	return min(m.Bytes, share)
}

// String returns the form that Set takes.
func (m MinFree) String() string {
	switch {
	case m.Percent == 0:
		return strconv.FormatUint(m.Bytes, 10)
	case m.Bytes == 0:
		return strconv.FormatFloat(m.Percent, 'g', -1, 64) + "%"
	}
	return strconv.FormatFloat(m.Percent, 'g', -1, 64) + "%," + strconv.FormatUint(m.Bytes, 10)
}

var errMinFree = errors.New("must be bytes, with KiB, MiB or GiB behind them if wanted, or a percentage as 1%, or both with a comma between: the smaller counts")

// Set takes bytes, a percentage, or both with a comma between.
func (m *MinFree) Set(text string) error {
	var out MinFree
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if share, ok := strings.CutSuffix(part, "%"); ok {
			v, err := strconv.ParseFloat(share, 64)
			if err != nil || v < 0 || v > 100 {
				return errMinFree
			}
			out.Percent = v
			continue
		}
		n, err := parseBytes(part)
		if err != nil {
			return errMinFree
		}
		out.Bytes = n
	}
	*m = out
	return nil
}

func parseBytes(text string) (uint64, error) {
	unit := uint64(1)
	for suffix, size := range map[string]uint64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = strings.TrimSpace(rest), size
			break
		}
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return n * unit, err
}

// reserveFor is how many bytes of the disk are kept for when it is full: a file of the log, and a quarter of that for a checkpoint.
func reserveFor(logFile int64) int64 { return logFile + logFile/4 }

// openKeeper opens the node's log when there is a level that needs it, or when an earlier start has left one.
func (s *Server) openKeeper() (*topic.Recovery, error) {
	var groups replica.Recovery
	if !s.opts.wantsLog() && !storage.Exists(s.dataDir) {
		return nil, s.noIDs
	}
	size := cmp.Or(s.opts.LogFileSize, storage.LogFileSize)
	o := storage.Options{LogFileSize: size, Reserve: reserveFor(size), Dir: s.dataDir, SyncEvery: s.opts.SyncEvery, SyncTimeout: s.opts.SyncTimeout, Log: s.log,
		Anchor: s.opts.Anchor, Processors: s.opts.Processors, Prepare: topic.Level(s.opts.Durability) == topic.Fsync,
		Unpromised: !s.opts.wantsLog()}
	if m := s.opts.MinFreeSpace; m != (MinFree{}) {
		o.MinFreeSpace = m.of
	}
	if o.Moved = s.lock.Moved; s.around.files == nil {
		o.FS = s.lock.FS()
	} else {
		o.FS = s.around.files
	}
	o.SegmentSize, o.CheckpointBytes = s.around.sizes.segment, s.around.sizes.checkpoint
	o.Disk, o.NodeID, o.IDs, o.Groups = s.disk, s.opts.NodeID, s.ids.Bound, groups.Replay
	k, recovery, err := storage.Open(o)
	if err != nil {
		return nil, fmt.Errorf("opening what is kept in %s: %w", s.dataDir, err)
	}
	s.engine = k
	s.ids.Raise(k.IDs())
	switch {
	case s.noIDs != nil && k.IDs() == 0:
		return nil, s.noIDs
	case s.noIDs != nil:
		s.log.Error("the manifest's copy of the id bound is used, and nothing is lost", "error", s.noIDs)
		if err := clearIDs(k, s.noIDs); err != nil {
			return nil, err
		}
	}
	if err := s.newMember(&groups); err != nil {
		return nil, err
	}
	found := k.Opened()
	s.log.Info("the log was read", "checkpoint", found.Checkpoint, "files", found.Log.Files, "records", found.Log.Records,
		"bytes", found.Log.Bytes, "took", found.Took)
	return recovery, nil
}

// clearIDs puts aside what stands in the place of the file of the id bound when that is no file, so that there can be one.
func clearIDs(k *storage.Engine, noIDs error) error {
	if !errors.Is(noIDs, vfs.ErrNotPlain) {
		return nil
	}
	return k.SetAside(nsqdata.IDsFile)
}

// idStore keeps the bound of message ids in its file, and the copy in the manifest.
type idStore struct {
	*nsqdata.IDs
	engine *storage.Engine // nil: there is no manifest
	log    *slog.Logger
}

// Reserve makes upTo the bound.
func (i idStore) Reserve(upTo uint64) error {
	if err := i.IDs.Reserve(upTo); err != nil || i.engine == nil {
		return err
	}
	if err := i.engine.KeepIDs(); err != nil { // the file has it; the copy is written with the next manifest
		i.log.Warn("copying the bound of message ids", "error", err)
	}
	return nil
}

// levelOf returns the level of a topic that is made now.
func (s *Server) levelOf(name string) topic.Level { return s.now().levelFor(name) }

// fits reports whether a topic's name is one that the pattern means.
func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// wantsLog reports whether a topic may be at a level above memory.
func (o *Options) wantsLog() bool {
	return o.ClusterName != "" || topic.Level(o.Durability) > topic.Memory || slices.ContainsFunc(o.TopicDurability, func(rule string) bool {
		return !strings.HasSuffix(rule, "="+topic.Memory.String())
	}) || slices.ContainsFunc(o.patterns().Topics, func(p policy.Pattern) bool {
		level, ok := p.Value("durability")
		return ok && level != topic.Memory.String()
	})
}

// checkPatterns checks the options of topics and channels.
func (o *Options) checkPatterns() error {
	if _, bad, err := policy.ParsePatterns(o.TopicOptions, false); err != nil {
		return refuse("topic-options", err.Error(), bad)
	}
	if _, bad, err := policy.ParsePatterns(o.ChannelOptions, true); err != nil {
		return refuse("channel-options", err.Error(), bad)
	}
	return nil
}

// patterns returns the options of topics and channels, which were checked.
func (o *Options) patterns() (p topic.Patterns) {
	p.Topics, _, _ = policy.ParsePatterns(o.TopicOptions, false)
	p.Channels, _, _ = policy.ParsePatterns(o.ChannelOptions, true)
	return p
}

// checkDurability checks the patterns.
func (o *Options) checkDurability() error {
	for _, rule := range o.TopicDurability {
		pattern, level, ok := strings.Cut(rule, "=")
		_, err := path.Match(pattern, "")
		_, unknown := topic.ParseLevel(level)
		if !ok || err != nil || unknown != nil {
			return refuse("topic-durability", "must be PATTERN=LEVEL, a pattern as orders.* and memory, disk or fsync", rule)
		}
	}
	return nil
}
