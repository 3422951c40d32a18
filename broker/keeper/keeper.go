package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// Options says where and how topics are kept.
type Options struct {
	FS           vfs.FS // nil: the operating system's
	Dir          string // the data folder
	SyncEvery    int64  // written records after which the log is synced by itself
	SyncTimeout  time.Duration
	MinFreeSpace func(total uint64) uint64 // bytes that must stay free, of a file system of total bytes; nil: none
	Log          *slog.Logger

	LogFileSize     int64  // bytes of one of the log's files; 0: 8 MiB
	SegmentSize     int64  // bytes of one segment file; 0: what package segment says
	CheckpointBytes uint64 // bytes that the log grows by before there may be a checkpoint; 0: 16 MiB
	Prepare         bool   // most publishes will wait for a sync
	Reserve         int64  // bytes of the disk that are kept for when it is full, at least LogFileSize; 0: none
	Anchor          bool   // GOMAXPROCS may be raised by one while that makes small writes cheaper, and is the runtime's own otherwise
}

// When a checkpoint is written: the log has grown by checkpointBytes since the last one, and by twice the size of that, which was
// checkpointPause ago, or nothing much happens and no message is in segments, so that a broker that has drained needs little
// space; or that, and the log of an earlier life is still large; or the log has grown by passingFactor times as much with messages
// that were consumed at once; or it has grown by checkpointMax; or it has lost records.
const (
	checkpointBytes = 16 << 20
	quietBytes      = 64 << 10 // in one tick
	checkpointMax   = 1 << 30
	passingFactor   = 4
	checkpointPause = 2 * time.Second
)

// logFileSize is the size of the log's files in bytes: a broker that has drained keeps about two of them.
const logFileSize = 8 << 20

// spareFiles is how many of them are kept at most to be used again: those that are filled between two checkpoints at a rate that syncs
// allow.
const spareFiles = 6

// Folders in the data folder.
const (
	logFolder      = "journal"
	segmentsFolder = "segments"
)

// Exists reports whether a keeper has kept something in the data folder.
func Exists(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, logFolder))
	return err == nil && info.IsDir()
}

// How often the keeper looks: tick while something happens, idleTick while the log does not grow, for what others do to the disk.
const (
	tick     = 50 * time.Millisecond
	idleTick = time.Second
)

// probeEvery is how often a log is tried that has failed.
const probeEvery = 250 * time.Millisecond

// Keeper keeps the durable topics of one node.
type Keeper struct {
	o        Options
	wal      *wal.Log
	registry *topic.Registry // set by Start
	loop     sync.WaitGroup
	stop     context.CancelFunc
	stirred  stir
	tally    tally
	anchor   anchor

	// Owned by the loop, and by Close after it.
	number  uint64       // of the next checkpoint
	covered wal.Position // the log before this is not needed by the last checkpoint
	size    uint64       // bytes that were appended when it was written
	at      time.Time    // when it was written
	seen    uint64       // bytes that were appended at the last tick
	probed  time.Time
	weight  uint64    // bytes of the last checkpoint
	retry   time.Time // no checkpoint before this, as the last one failed
	blind   bool      // no checkpoint could be read: the log is not released
	cramped bool
	reserve reserve

	lost atomic.Uint64 // records that the log had lost when the last checkpoint was written; publishers read it
}

// Open opens the log in the folder and returns what it and the last checkpoint add up to. The keeper runs from Start on.
func Open(o Options) (*Keeper, *topic.Recovery, error) {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	o.LogFileSize = cmp.Or(o.LogFileSize, logFileSize)
	o.CheckpointBytes = cmp.Or(o.CheckpointBytes, checkpointBytes)
	k := &Keeper{o: o, at: time.Now(), reserve: reserve{size: o.Reserve}, anchor: newAnchor(o.Anchor), stirred: stir{now: make(chan struct{}, 1)}}
	if err := o.FS.MkdirAll(filepath.Join(o.Dir, logFolder)); err != nil {
		return nil, nil, fmt.Errorf("making the log's folder: %w", err)
	}
	state, err := k.loadCheckpoint()
	if err != nil {
		return nil, nil, err
	}
	recovery := topic.NewRecovery(state)
	recovery.Segments = k.Segments()
	var report wal.Report
	k.wal, report, err = wal.Open(wal.Options{FS: o.FS, Dir: filepath.Join(o.Dir, logFolder), FileSize: o.LogFileSize, SpareFiles: spareFiles, Prepare: o.Prepare,
		SyncEvery: o.SyncEvery, SyncTimeout: o.SyncTimeout, Log: o.Log}, func(e wal.Entry) error {
		if e.Kind == byte(kindProbe) {
			return nil
		}
		err := recovery.Apply(position(e.Pos), journal.Kind(e.Kind), e.Data)
		if errors.Is(err, journal.ErrRecord) {
			o.Log.Error("a record of the log makes no sense and is passed over", "at", e.Pos.String(), "error", err)
			return nil
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("opening the log: %w", err)
	}
	k.tally.recovered(k.at, &report)
	for _, d := range report.Damage {
		o.Log.Error("damage in the log", "where", d)
	}
	if err := k.tidy(recovery, report.Damaged()); err != nil {
		return nil, nil, errors.Join(err, k.wal.Close())
	}
	return k, recovery, nil
}

// kindProbe is a record that says nothing: it tries whether the log can be written.
const kindProbe journal.Kind = 15

func position(p wal.Position) journal.Offset {
	return journal.Offset{File: p.File, Offset: p.Offset}
}

// Journal returns the log as topics see it.
func (k *Keeper) Journal() topic.Log { return walLog{k.wal, &k.lost, &k.stirred} }

// walLog is the log of topics.
type walLog struct {
	l    *wal.Log
	lost *atomic.Uint64 // Keeper.lost
	stir *stir
}

func (w walLog) Append(kind journal.Kind, head, body []byte) journal.Offset {
	w.stir.wake()
	at, _ := w.l.Append(byte(kind), head, body) // Commit answers with the error
	return position(at)
}

// errGap is the refusal of publishes while the log lacks records that a publish may build on, as that of its channel.
var errGap = errors.New("the log has lost records, and no checkpoint has made up for them yet")

func (w walLog) Commit(at journal.Offset, sync bool) error {
	level := wal.Written
	if sync {
		level = wal.Synced
	}
	if err := w.l.Commit(wal.Position{File: at.File, Offset: at.Offset}, level); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	return nil
}

func (w walLog) End() journal.Offset { return position(w.l.End()) }

func (w walLog) Err() error {
	if err := w.l.Err(); err != nil {
		return err
	}
	if w.l.Lost() > w.lost.Load() {
		return errGap
	}
	return nil
}

// Segments returns the topics' segments.
func (k *Keeper) Segments() topic.Segments { return segments{k} }

type segments struct{ k *Keeper }

func (s segments) dir(id uint32) string {
	return filepath.Join(s.k.o.Dir, segmentsFolder, strconv.FormatUint(uint64(id), 10))
}

func (s segments) Open(id uint32) (*segment.Store, []segment.Block, []segment.Damage, error) {
	return segment.Open(segment.Options{FS: s.k.o.FS, Dir: s.dir(id), FileSize: s.k.o.SegmentSize, Log: s.k.o.Log})
}

// Start begins to keep the registry, whose topics were recovered.
func (k *Keeper) Start(r *topic.Registry) {
	k.registry = r
	k.wal.Start()
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.watchSpace()
	k.loop.Go(func() { k.run(ctx) })
	if k.anchor.kick != nil {
		k.loop.Go(func() { k.anchor.run(ctx) })
	}
}

// Close writes a last checkpoint and closes the log. Nobody publishes or consumes any more.
func (k *Keeper) Close() error {
	k.stop()
	k.loop.Wait()
	k.probe()
	err := k.checkpoint(0)
	return errors.Join(err, k.registry.CloseDurable(), k.wal.Close())
}

// Abandon closes a keeper of a broker that does not come to serve, started or not.
func (k *Keeper) Abandon() error {
	if k.stop != nil {
		return k.Close()
	}
	return k.wal.Close()
}

// stir wakes the keeper when something is appended while it looks at leisure.
type stir struct {
	asleep atomic.Bool
	now    chan struct{}
}

func (s *stir) wake() {
	if s.asleep.Load() && s.asleep.CompareAndSwap(true, false) {
		select {
		case s.now <- struct{}{}:
		default:
		}
	}
}

func (k *Keeper) run(ctx context.Context) {
	t := time.NewTimer(tick)
	defer t.Stop()
	for idle := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-k.stirred.now:
		case <-k.registry.Failing():
		case now := <-t.C:
			k.stirred.asleep.Store(true) // first: what is appended from now on wakes the keeper, or is seen
			if idle = k.look(now); idle {
				t.Reset(idleTick)
				continue
			}
			k.stirred.asleep.Store(false)
			t.Reset(tick)
		}
		if idle {
			idle = false
			t.Reset(tick)
		}
	}
}

// look does what is due and reports whether nothing more will be before something is appended.
func (k *Keeper) look(now time.Time) (idle bool) {
	stats := k.wal.Stats()
	k.anchor.look(now, stats.Writes, stats.Bytes)
	k.watchSpace()
	if now.Sub(k.probed) >= probeEvery {
		k.probed = now
		k.probe()
	}
	if now.Before(k.retry) {
		return false
	}
	if err := k.wal.Err(); err != nil {
		k.makeRoom(err)
		return false
	}
	k.registry.Reclaim()
	if k.registry.PrepareDrop() {
		if err := k.drop(); err != nil {
			k.o.Log.Error("letting go of segments", "error", err)
			k.retry = now.Add(probeEvery)
		}
	}
	stats = k.wal.Stats()
	still := stats.Bytes == k.seen && stats.Unwritten == 0
	quiet := stats.Bytes-k.seen < quietBytes && k.registry.Drained()
	k.seen = stats.Bytes
	due, later := k.due(now, &stats, quiet)
	if !due && stats.Lost == k.lost.Load() {
		return still && !later && k.registry.Health() == nil
	}
	k.renew(now, stats.Bytes-k.size, quiet)
	return false
}

// due reports whether it is time for a checkpoint, or will be although nothing more is appended.
func (k *Keeper) due(now time.Time, stats *wal.Stats, quiet bool) (due, later bool) {
	grown := stats.Bytes - k.size
	if grown >= checkpointMax {
		return true, false
	}
	paused := now.Sub(k.at) >= checkpointPause
	enough := grown >= max(k.o.CheckpointBytes, 2*k.weight)
	left := quiet && !k.blind && uint64(stats.FileBytes) >= 2*k.o.CheckpointBytes
	due = enough && (paused || quiet || k.passing(grown)) || left && paused
	return due, !due && (enough || left)
}

// renew writes a checkpoint, when the log has grown by so many bytes since the last one.
func (k *Keeper) renew(now time.Time, grown uint64, quiet bool) {
	recycle := 0
	if k.passing(grown) {
		recycle = int(grown / uint64(k.o.LogFileSize)) // as many as are filled till the next one
	}
	err := k.checkpoint(recycle)
	if err == nil && quiet {
		err = k.checkpoint(0) // the log goes back to the checkpoint before the last
	}
	if err != nil {
		k.o.Log.Error("writing a checkpoint", "error", err)
		k.registry.SetHealth(err)
		k.retry = now.Add(probeEvery)
		return
	}
	k.registry.SetHealth(nil)
}

// passing reports whether nearly all that the log has grown by was consumed already: a checkpoint then costs next to nothing, and
// what is written goes on in memory of the system and space on the disk that were used before.
func (k *Keeper) passing(grown uint64) bool {
	return grown >= passingFactor*k.o.CheckpointBytes && k.registry.Drained() && k.registry.Memory() <= grown/2
}

// drop lets segments go of which the log says that nobody needs them.
func (k *Keeper) drop() error {
	if err := k.sync(); err != nil {
		return err
	}
	return k.registry.Drop()
}

// sync writes to the log, and syncs all of it.
func (k *Keeper) sync() error {
	at, err := k.wal.Append(byte(kindProbe))
	if err == nil {
		err = k.wal.Commit(at, wal.Synced)
	}
	return err
}

// probe tries the log when it, or the last write to disk, has failed. Health stays bad until a write and, when records were
// lost, a checkpoint has succeeded.
func (k *Keeper) probe() {
	failed := k.wal.Err()
	if failed == nil && k.registry.Health() == nil {
		return
	}
	err := k.wal.Recover()
	if err == nil {
		err = k.sync()
	}
	switch {
	case err != nil:
		k.registry.SetHealth(err)
	case k.wal.Lost() > k.lost.Load():
		k.registry.SetHealth(errGap)
	default:
		k.registry.SetHealth(nil)
	}
	if err == nil && failed != nil {
		k.o.Log.Info("the log can be written again")
	}
}

// watchSpace refuses publishes while the disk is nearly full.
func (k *Keeper) watchSpace() {
	k.fillReserve()
	cramped, free, wanted := false, uint64(0), uint64(0)
	if k.o.MinFreeSpace != nil {
		space, err := k.o.FS.Free(k.o.Dir)
		if err != nil {
			if !errors.Is(err, errors.ErrUnsupported) {
				k.o.Log.Error("asking for the free space", "error", err)
			}
			return
		}
		free, wanted = space.Free, k.o.MinFreeSpace(space.Total)
		cramped = free < wanted
	}
	if cramped != k.cramped {
		k.cramped = cramped
		k.o.Log.Log(context.Background(), cmp.Or(map[bool]slog.Level{true: slog.LevelError}[cramped], slog.LevelInfo),
			"space on the disk", "enough", !cramped, "free", free, "wanted", wanted)
	}
	switch {
	case cramped:
		k.registry.SetSpace(topic.ErrNoSpace)
	case k.reserve.spent:
		k.registry.SetSpace(topic.ErrDiskFull)
	default:
		k.registry.SetSpace(nil)
	}
}
