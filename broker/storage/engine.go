package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/stall"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// Options says where and how topics are kept.
type Options struct {
	FS           vfs.FS       // nil: the operating system's
	Disk         *stall.Watch // knows which calls to it are out; nil: nobody does
	Dir          string       // the data folder
	Moved        func() bool  // the folder has another name now: FS leads to it all the same; nil: that is not known
	SyncEvery    int64        // written records after which the log is synced by itself
	SyncTimeout  time.Duration
	MinFreeSpace func(total uint64) uint64 // bytes that must stay free, of a file system of total bytes; nil: none
	Log          *slog.Logger

	LogFileSize     int64                 // bytes of one of the log's files; 0: LogFileSize
	SegmentSize     int64                 // bytes of one segment file; 0: what package segment says
	CheckpointBytes uint64                // bytes that the log grows by before there may be a checkpoint; 0: 16 MiB
	Prepare         bool                  // most publishes will wait for a sync
	Unpromised      bool                  // no topic is to be kept in the log anew: folders that cannot be synced are warned of, not refused
	Reserve         int64                 // bytes of the disk that are kept for when it is full, at least LogFileSize; 0: none
	NodeID          int64                 // written down for people
	IDs             func() uint64         // the bound of message ids, of which the manifest keeps a copy; nil: none
	Thorough        bool                  // look at every file whose size says that it is what it was, too: for tools, which have the time
	AcceptLoss      bool                  // go on without what is missing, for a repair: the folder is whole again once it is closed
	Groups          func(wal.Entry) error // takes records of groups of replicas while the log is read; nil: they are passed over
	Listed          []*journal.Topic      // topics as the list of topics has them, with their channels: for those that no checkpoint names
	Anchor          bool                  // GOMAXPROCS may be raised by one while that makes small writes cheaper, and is the runtime's own and Processors otherwise
	Processors      int
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

// LogFileSize is the usual size of the log's files in bytes: a broker that has drained keeps about two of them.
const LogFileSize = 8 << 20

// spareFiles is how many of them are kept at most to be used again: those that are filled between two checkpoints at a rate that syncs
// allow.
const spareFiles = 6

// Folders in the data folder.
const (
	logFolder      = "journal"
	segmentsFolder = "segments"
)

// Exists reports whether an engine has kept something in the data folder, or something is left of that.
func Exists(dir string) bool {
	for _, name := range []string{manifest.FileName, logFolder, segmentsFolder} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	names, _ := filepath.Glob(filepath.Join(dir, checkpointPrefix+"*"))
	return len(names) > 0
}

// Engine keeps the durable topics of one node.
type Engine struct {
	o        Options // of its FS the Watch knows
	files    vfs.FS  // the same without, for who tells it himself what publishes wait for
	wal      *wal.Log
	registry *topic.Registry // set by Start
	loop     sync.WaitGroup
	stop     context.CancelFunc
	wakeups  wakeup
	growth   growth
	tally    tally
	anchor   anchor
	folder   folder
	aside    aside
	opened   Opened
	quiet    *tellings
	groups   Groups // nil: there are none

	unsyncable error // set by Open: why no topic is to be kept in the log anew

	// Owned by the loop, and by Close after it.
	number    uint64    // of the next checkpoint
	deleted   []uint32  // topics of which a crash has left the segments, to be removed
	unknown   []string  // files, and folders of topics, that nobody knows, to be put aside
	size      uint64    // bytes that were appended when it was written
	at        time.Time // when it was written
	seen      uint64    // bytes that were appended at the last tick
	probed    time.Time
	told      uint64    // records that were appended when the log last said what time it was
	toldAt    time.Time // when that was
	retained  time.Time // when it was looked for messages that need not be kept any more
	weight    uint64    // bytes of the last checkpoint
	retry     time.Time // no checkpoint before this, as the last one failed
	cramped   bool
	moved     bool // the folder has another name now, and that was told
	tight     bool // groups were told so
	burst     burst
	nothing   time.Time // till then there is nothing, most likely, that is only kept and could go for others
	compacted uint64    // bytes that were appended when it was looked for segments of which little is needed
	rounded   time.Time // when that was
	remains   int64     // bytes of the log's files that two checkpoints in a row have left, the last time: more of them leave as much
	doneOnce  []string  // marks of files that went early, of which the newest checkpoint knows
	reserve   reserve

	sparse chan struct{} // asks for compaction
	owed   atomic.Int32  // checkpoints that are to be written although the log has not grown

	sizes map[segmentFile]int64 // of files of segments, as a start has found them; nil once it is over

	asked  chan roomAsked                  // by who writes the log and has no room
	ctx    atomic.Pointer[context.Context] // from Start on; ends when Close begins
	making sync.Mutex                      // held while files go early

	early atomic.Bool // files of segments that go now leave a mark; atomic as topics remove some of their own
	done  marks       // those

	lost atomic.Uint64 // records that the log had lost when the last checkpoint was written; publishers read it
}

// Opened is what Open has found.
type Opened struct {
	Checkpoint string     // name of the one that was used, empty for none
	Log        wal.Report // what was read of the log
	Missing    []string   // what is missing, when loss is accepted; for people
	Unreadable []string   // what the disk does not give back of segments, when loss is accepted; for people
	Damage     []string   // what is damaged, and costs nothing or what the log reports; for people
	Took       time.Duration
}

// Open opens the log in the folder and returns what it and the last checkpoint add up to; nothing is changed before Start. It fails
// with ErrIncomplete when something is missing that belongs to the folder, with ErrVersion when another version wrote it, and with ErrUnsyncable.
func Open(o Options) (*Engine, *topic.Recovery, error) {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	k, recovery, err := open(o)
	if errors.Is(err, ErrIncomplete) { // it ended at the first piece; people want to know them all
		s := newStopped(Options{FS: readOnly{o.FS}, Dir: o.Dir, Log: o.Log})
		if s.readState() == nil && len(s.Missing) > 0 {
			err = &Incomplete{Dir: o.Dir, Missing: s.Missing}
		}
	}
	return k, recovery, err
}

func open(o Options) (*Engine, *topic.Recovery, error) {
	began := time.Now()
	o.LogFileSize = cmp.Or(o.LogFileSize, LogFileSize)
	o.CheckpointBytes = cmp.Or(o.CheckpointBytes, checkpointBytes)
	given, err := setStrangersAside(o)
	if err != nil {
		return nil, nil, err
	}
	s, err := lookAt(o.FS, o.Dir, o.AcceptLoss, o.Thorough || o.AcceptLoss)
	if err != nil {
		return nil, nil, err
	}
	s.missing = append(given, s.missing...)
	if err := s.refuse(nil); err != nil {
		return nil, nil, err
	}
	unsyncable, err := o.checkFolders()
	if err != nil {
		return nil, nil, err
	}
	k := newEngine(o, s)
	k.unsyncable = unsyncable
	recovery := topic.NewRecovery(s.state)
	recovery.Segments = k.Segments()
	if o.AcceptLoss {
		if err := errors.Join(k.replaceUnreadable(), k.stub(recovery, s)); err != nil {
			return nil, nil, err
		}
	}
	if err := k.openLog(s, recovery); err != nil {
		return nil, nil, err
	}
	if len(s.missing)+len(k.opened.Log.Missing) > 0 { // and that is accepted
		if err := recovery.Salvage(); err != nil {
			return nil, nil, errors.Join(err, k.wal.Abandon())
		}
	}
	k.tally.recovered(began, &k.opened.Log)
	gone, err := k.lackSegments(s.state)
	if err == nil {
		err = s.refuse(gone)
	}
	if err != nil {
		return nil, nil, errors.Join(err, k.wal.Abandon())
	}
	k.opened.Checkpoint, k.opened.Missing = s.checkpoint, slices.Concat(s.missing, k.opened.Log.Missing, gone)
	if o.AcceptLoss && (len(k.opened.Missing) > 0 || k.opened.Log.Damaged()) {
		k.loseGroups()
	}
	for _, d := range s.damaged {
		o.Log.Error("a checkpoint cannot be used: the one before it is, and nothing is lost", "what", d)
	}
	for _, d := range k.opened.Log.Damage {
		o.Log.Error("damage in the log", "where", d)
	}
	if err := k.tidy(recovery, s); err != nil {
		return nil, nil, errors.Join(err, k.Abandon())
	}
	k.opened.Took = time.Since(began)
	return k, recovery, nil
}

func newEngine(o Options, s *sight) *Engine {
	log, said := newQuiet(o.Log)
	o.Log = log
	files := o.FS
	o.FS = o.Disk.FS(files)
	k := &Engine{o: o, files: files, quiet: said, at: time.Now(), anchor: newAnchor(o.Anchor, o.Processors), wakeups: wakeup{now: make(chan struct{}, 1)},
		aside: aside{fs: o.FS, dir: o.Dir}, number: 1, sparse: make(chan struct{}, 1), asked: make(chan roomAsked)}
	k.reserve.size = o.Reserve
	k.growth.most, k.growth.now = o.LogFileSize/4, make(chan struct{}, 1)
	k.reserve.hold(0, false)
	k.folder = folder{fs: files, disk: o.Disk, dir: o.Dir, id: s.m.Folder.Short(), log: o.Log, m: s.m, late: o.AcceptLoss, kick: make(chan struct{}, 1)}
	k.folder.own = func(m *manifest.Manifest) {
		m.NodeID = o.NodeID
		if o.IDs != nil {
			m.IDs = o.IDs()
		}
	}
	k.folder.knowNeeds()
	for _, c := range s.m.Checkpoints {
		k.number = max(k.number, c.Number+1)
	}
	return k
}

// openLog reads the log.
func (k *Engine) openLog(s *sight, recovery *topic.Recovery) (err error) {
	o := wal.Options{FS: k.files, Disk: k.o.Disk, Dir: filepath.Join(k.o.Dir, logFolder), FileSize: k.o.LogFileSize, SpareFiles: spareFiles,
		Prepare: k.o.Prepare, SyncEvery: k.o.SyncEvery, SyncTimeout: k.o.SyncTimeout, Log: k.o.Log,
		Need: s.need(), Next: s.m.Log.Limit, Aside: k.aside.put, Room: k.askRoom}
	if !k.o.AcceptLoss { // else the manifest stays as it is until there is something better
		o.Lease, o.Named = k.folder.lease, k.folder.nameSynced
	}
	k.wal, k.opened.Log, err = wal.Open(o, func(e wal.Entry) error {
		err := k.o.applyRecord(e, s.from, func(e wal.Entry) error { return recovery.Apply(e.At, journal.Kind(e.Kind), e.Data) })
		if errors.Is(err, journal.ErrRecord) {
			k.o.Log.Error("a record of the log makes no sense and is passed over", "at", e.At.String(), "error", err)
			return nil
		}
		return err
	})
	k.folder.m.Log.Gone, k.folder.m.Log.Headless = k.opened.Log.Gone, k.opened.Log.Headless // entered with the first change of the folder; nobody else knows it yet
	switch {
	case errors.Is(err, wal.ErrMissing):
		return s.refuse(k.opened.Log.Missing)
	case errors.Is(err, wal.ErrVersion):
		return fmt.Errorf("%w: %w", ErrVersion, err)
	case err != nil:
		return fmt.Errorf("opening the log: %w", err)
	}
	return nil
}

// Opened returns what Open has found.
func (k *Engine) Opened() *Opened { return &k.opened }

// IDs returns the manifest's copy of the bound of message ids.
func (k *Engine) IDs() uint64 { return k.folder.current().IDs }

// KeepIDs writes the bound of message ids, which Options.IDs returns, into the manifest.
func (k *Engine) KeepIDs() error { return k.folder.update(func(*manifest.Manifest) {}) }

// Need returns once the manifest names a feature, which the next records use: a build that does not know it refuses the folder from then on.
// The first time it waits for the disk. With an error the feature must not be used where that can be left.
func (k *Engine) Need(f journal.Feature) error { return k.folder.need(f) }

// Aside returns how many files are set aside, because nobody knows them or because they are damaged.
func (k *Engine) Aside() int { return int(k.aside.files.Load()) }

// kindProbe is a record that says nothing: it tries whether the log can be written.
const kindProbe journal.Kind = 15

// Journal returns the log as topics see it.
func (k *Engine) Journal() topic.Log { return &walLog{k.wal, &k.lost, &k.wakeups} }

// walLog is the log of topics.
type walLog struct {
	l      *wal.Log
	lost   *atomic.Uint64 // Engine.lost
	wakeup *wakeup
}

func (w *walLog) Append(kind journal.Kind, head, body []byte) journal.Offset {
	w.wakeup.wake()
	at, _ := w.l.Append(byte(kind), head, body) // Commit answers with the error
	return at
}

// errGap is the refusal of publishes while the log lacks records that a publish may build on, as that of its channel.
var errGap = errors.New("the log has lost records, and no checkpoint has made up for them yet")

func (w *walLog) Commit(at journal.Offset, sync bool) error {
	level := wal.Written
	if sync {
		level = wal.Synced
	}
	if err := w.l.Commit(at, level); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	return nil
}

func (w *walLog) End() journal.Offset { return w.l.End() }

func (w *walLog) Err() error {
	if err := w.l.Err(); err != nil {
		return err
	}
	return w.Gap()
}

func (w *walLog) Gap() error {
	if w.l.Lost() > w.lost.Load() {
		return errGap
	}
	return nil
}

// Segments returns the topics' segments.
func (k *Engine) Segments() topic.Segments { return segments{k} }

type segments struct{ k *Engine }

func (s segments) dir(id uint32) string {
	return filepath.Join(s.k.o.Dir, segmentsFolder, strconv.FormatUint(uint64(id), 10))
}

func (s segments) path(id, number uint32) string {
	return s.dir(id) + string(filepath.Separator) + segment.FileName(number)
}

func (s segments) Open(id uint32, name string, whole map[uint32]int64) (*segment.Store, []segment.Block, []segment.Damage, error) {
	whole, err := s.k.asTheyWere(id, whole)
	if err != nil {
		return nil, nil, nil, err
	}
	return segment.Open(segment.Options{FS: s.k.o.FS, Dir: s.dir(id), FileSize: s.k.o.SegmentSize, Log: s.k.o.Log,
		Folder: s.k.folder.id, Topic: id, Name: name, Aside: s.k.setSegmentAside, Remove: s.k.removeSegment,
		Whole: whole, AcceptLoss: s.k.o.AcceptLoss})
}

// Start begins to keep the registry, whose topics were recovered.
func (k *Engine) Start(r *topic.Registry) {
	k.registry, k.sizes = r, nil
	k.quiet.on.Store(true)
	k.wal.Start()
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.ctx.Store(&ctx)
	k.loop.Go(func() { k.runRoom(ctx) })
	k.watchSpace()
	k.loop.Go(func() { k.run(ctx) })
	k.loop.Go(func() { k.folder.run(ctx) })
	k.loop.Go(func() { k.runCompact(ctx) })
	if k.anchor.kick != nil {
		k.loop.Go(func() { k.anchor.run(ctx) })
	}
}

// Close writes the last checkpoint twice, so that a start reads nothing but it and either costs nothing if it is damaged, and closes
// the log. A repair writes it once more, so that nothing needs what it has found of the log. Nobody publishes or consumes any more.
func (k *Engine) Close() error {
	k.stop()
	k.loop.Wait()
	k.probe()
	k.tidyUp()
	err := k.checkpoint(0)
	for full(err) && k.dropForWrite() {
		err = k.checkpoint(0)
	}
	times := 1
	if k.o.AcceptLoss { // the first one still needs the end of the log as it was, of which the disk may not give back the beginning
		times = 2
	}
	for ; err == nil && times > 0; times-- {
		err = k.checkpoint(0)
	}
	err = errors.Join(err, k.registry.CloseDurable(), k.wal.Close())
	if err != nil {
		return err
	}
	end := k.wal.End()
	return k.folder.update(func(m *manifest.Manifest) { m.Log.End = &manifest.Offset{File: end.File, Offset: end.Offset} })
}

// Abandon closes an engine of a broker that does not come to serve, started or not. One that was not started writes nothing.
func (k *Engine) Abandon() error {
	if k.stop != nil {
		return k.Close()
	}
	return k.wal.Abandon()
}
