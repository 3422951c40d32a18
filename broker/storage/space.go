package storage

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"brokerd/broker/topic"
)

// historyRoom is how many bytes, beside those that must stay free, messages leave free that are only kept: they go before any publish is
// refused. On a small disk it is less: a twentieth, or what a few files of the log take if a quarter has room for that.
const (
	historyRoom = 1 << 30
	roomFiles   = 4
)

// burstRoom is how many times as much there should be room for as the log lately has grown by between two looks.
const burstRoom = 3

// burst is by how much the log has grown between two looks, lately at most: it is forgotten slowly. It belongs to the engine's loop.
type burst struct{ most, seen uint64 }

// look takes in how many bytes the log has grown by ever.
func (b *burst) look(bytes uint64) {
	b.most -= b.most / 128
	b.most, b.seen = max(b.most, bytes-b.seen), bytes
}

// space is how much of the disk is free, and how much should be.
type space struct {
	free   uint64
	wanted uint64 // below that publishes are refused
	room   uint64 // below that what is only kept goes
	tight  uint64 // below that groups of replicas are to take no more messages; 0: there are none
}

func (k *Engine) roomOf(total uint64) uint64 {
	files := min(uint64(roomFiles*k.o.LogFileSize), total/4)
	return min(historyRoom, max(total/20, files))
}

// watches reports whether the free space matters. A repair drops no history.
func (k *Engine) watches() bool {
	return k.o.MinFreeSpace != nil || k.groups != nil || k.registry.Keeps() && !k.o.AcceptLoss
}

// lookAtSpace asks for the free space; ok is false when nobody wants to know, or it cannot be known.
func (k *Engine) lookAtSpace() (s space, ok bool) {
	if !k.watches() {
		return s, false
	}
	disk, err := k.o.FS.Free(k.o.Dir)
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			k.o.Log.Error("asking for the free space", "error", err)
		}
		return s, false
	}
	if s.free = disk.Free; k.o.MinFreeSpace != nil {
		s.wanted = k.o.MinFreeSpace(disk.Total)
	}
	s.room = s.wanted + max(k.roomOf(disk.Total), min(burstRoom*k.burst.most, disk.Total/2))
	if k.reserve.isSpent() { // publishes are refused until it is there again
		s.room = max(s.room, 2*uint64(k.reserve.size))
	}
	if k.groups != nil {
		s.tight = s.wanted + k.groupRoom(disk.Total)
		s.room = max(s.room, s.tight)
	}
	return s, true
}

// watchFolder tells when the folder's name begins to stand for something else, and when it stands for the folder again.
func (k *Engine) watchFolder() {
	if k.o.Moved == nil {
		return
	}
	is := k.o.Moved()
	switch {
	case is && !k.moved:
		k.o.Log.Error("the data folder was moved, or something was put in its place: all goes on being kept in it where it is now, and a start by its old name would not find it",
			"data", k.o.Dir)
	case !is && k.moved:
		k.o.Log.Info("the data folder has its name again", "data", k.o.Dir)
	}
	k.moved = is
}

// watchSpace refuses publishes while the disk is nearly full, and nothing is left that is only kept.
func (k *Engine) watchSpace() {
	k.watchFolder()
	k.shed()
	k.fillReserve()
	k.burst.look(k.wal.Stats().Bytes)
	s, ok := k.lookAtSpace()
	if !ok && k.watches() {
		return
	}
	k.dropHistory(&s)
	if cramped := s.free < s.wanted; cramped != k.cramped {
		k.cramped = cramped
		k.o.Log.Log(context.Background(), cmp.Or(map[bool]slog.Level{true: slog.LevelError}[cramped], slog.LevelInfo),
			"space on the disk", "enough", !cramped, "free", s.free, "wanted", s.wanted)
	}
	k.watchGroups(&s)
	switch {
	case k.cramped:
		k.registry.SetSpace(topic.ErrNoSpace)
	case k.reserve.isSpent():
		k.registry.SetSpace(topic.ErrDiskFull)
	default:
		k.registry.SetSpace(nil)
	}
}

// groupRoom is how much more room than others groups of replicas need for their topics to take messages: what they have in memory is to be written down, for a
// checkpoint, before any of what is consumed can go, and meanwhile the log goes on; and who follows takes for a while what is on its way.
func (k *Engine) groupRoom(total uint64) uint64 {
	n := uint64(k.reserve.left.Load()+k.groups.Held()+k.o.LogFileSize) + min(burstRoom*k.burst.most, total/8)
	if k.tight { // or it would come and go with each file of the log
		n += n / 4
	}
	return n
}

// watchGroups tells groups of replicas when their topics are to take no more messages.
func (k *Engine) watchGroups(s *space) {
	if k.groups == nil {
		return
	}
	if is := s.free < s.tight; is != k.tight {
		k.tight = is
		k.o.Log.Log(context.Background(), cmp.Or(map[bool]slog.Level{true: slog.LevelWarn}[is], slog.LevelInfo),
			"space on the disk for replicated topics", "enough", !is, "free", s.free, "wanted", s.tight)
	}
	k.groups.Tight(k.tight)
}

// shed has spare files of the log go while publishes are refused: they would be what lacks.
func (k *Engine) shed() {
	if (k.cramped || k.tight || k.reserve.isSpent()) && k.wal.Stats().SpareFiles > 0 {
		if err := k.wal.Shed(); err != nil {
			k.o.Log.Warn("removing spare files of the log", "error", err)
		}
	}
}

// mostDrops is how often what is only kept is dropped in one look although nothing comes free by it, when publishes would be refused: a file goes
// when nothing in it is needed, and some file systems take their time.
const mostDrops = 4

// nothingPause is how long nothing is looked for when there was nothing that is only kept.
const nothingPause = 250 * time.Millisecond

// dropHistory shortens the log, and then drops messages that are only kept, while there is less room than there should be. What comes free is free when
// it returns.
func (k *Engine) dropHistory(s *space) {
	now := time.Now()
	if s.free >= s.room || now.Before(k.nothing) || k.o.AcceptLoss {
		return
	}
	if k.logIsLong(s) && k.shortenLog() {
		if now, ok := k.lookAtSpace(); ok {
			*s = now
		}
	}
	for vain := 0; s.free < s.room; {
		if !k.dropSome(int64(s.room - s.free)) {
			k.nothing = now.Add(nothingPause)
			return
		}
		was := s.free
		if now, ok := k.lookAtSpace(); ok {
			*s = now
		}
		if s.free > was {
			continue
		}
		if vain++; s.free >= s.wanted || vain == mostDrops {
			return
		}
	}
}

// dropSome drops messages that are only kept, about so many bytes: of files first, and else what only the log has, which a checkpoint lets go then.
// It reports whether there were some.
func (k *Engine) dropSome(want int64) bool {
	if k.wal.Err() != nil || k.wal.Lost() != k.lost.Load() {
		return false // the log cannot say so: see makeRoom
	}
	freed := k.registry.FreeKept(want, false)
	if k.registry.PrepareDrop() {
		if err := k.drop(); err != nil {
			k.o.Log.Error("letting go of segments", "error", err)
			return false
		}
	}
	if freed >= want || k.registry.FreeKept(want-freed, true) == 0 {
		return freed > 0
	}
	return k.shortenLog()
}

// shortenLog has the log be as short as it can be, and reports whether that was done.
func (k *Engine) shortenLog() bool {
	err := k.checkpoint(0)
	if err == nil {
		err = k.checkpoint(0) // the log goes back to the one before
	}
	if err != nil {
		k.o.Log.Error("writing a checkpoint on a disk that is nearly full", "error", err)
	}
	return err == nil
}

// logIsLong reports whether the log takes a good part of the room that there should be, and a checkpoint would make it shorter.
func (k *Engine) logIsLong(s *space) bool {
	stats := k.wal.Stats()
	return k.wal.Err() == nil && stats.Bytes-k.size >= uint64(k.o.LogFileSize) && uint64(stats.FileBytes) >= (s.room-s.wanted)/4
}

// dropForWrite drops messages that are only kept when the log has no room for a file, and reports whether something came free. The log cannot say
// so first; what is left of each file says it instead.
func (k *Engine) dropForWrite() bool {
	k.making.Lock()
	defer k.making.Unlock()
	before, err := k.o.FS.Free(k.o.Dir)
	for vain := 0; err == nil && vain < mostDrops && k.registry.FreeKept(int64(k.roomOf(before.Total)), false) > 0; vain++ {
		k.dropEarly()
		if after, err := k.o.FS.Free(k.o.Dir); err == nil && after.Free > before.Free {
			return true
		}
	}
	return false
}

// full reports whether an error is that there is no room.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// roomPatience is how long who writes the log waits for room.
const roomPatience = time.Second

// roomAsked is one question for room, by who writes the log.
type roomAsked chan bool

// askRoom is wal.Options.Room: it returns once somebody has dropped what is only kept, which takes locks that the asker may not wait for, or when that
// takes too long.
func (k *Engine) askRoom() bool {
	ctx := k.ctx.Load()
	if ctx == nil {
		return false // a start
	}
	answer := make(roomAsked, 1)
	wait, stop := context.WithTimeout(*ctx, roomPatience)
	defer stop()
	select {
	case k.asked <- answer:
	case <-wait.Done():
		return false
	}
	select {
	case some := <-answer:
		return some
	case <-wait.Done():
		return false
	}
}

// runRoom answers askRoom.
func (k *Engine) runRoom(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case answer := <-k.asked:
			answer <- k.dropForWrite()
		}
	}
}
