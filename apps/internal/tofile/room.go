package tofile

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/appkit"
)

// handBack returns messages to the broker unfinished, with all that is gathered, and everything that comes from now on.
func (a *archive) handBack(messages []*nsq.Message) {
	a.consumer.ChangeMaxInFlight(0)
	a.mu.Lock()
	a.refusing = true
	gathered := a.gathering.messages
	a.gathering = new(batch)
	a.mu.Unlock()
	for _, some := range [][]*nsq.Message{messages, gathered} {
		for _, m := range some {
			m.RequeueWithoutBackoff(0)
		}
	}
	a.progress.Failed.Add(int64(len(messages) + len(gathered)))
}

// awaitRoom returns once so many bytes can be written again, and messages are taken again, or when stop is closed.
func (a *archive) awaitRoom(cause error, bytes int64, stop <-chan struct{}) {
	if stop == nil {
		return // it is stopping already, and hands back what still comes
	}
	a.log.Error("there is no room: messages stay with the broker until there is", "error", cause)
	backoff := appkit.Backoff{Min: 500 * time.Millisecond, Max: 10 * time.Second}
	for {
		timer := time.NewTimer(backoff.Next())
		select {
		case <-stop:
			timer.Stop()
			return
		case <-timer.C:
		}
		err := a.probe(bytes)
		if err == nil {
			break
		}
		a.log.Debug("there is still no room", "error", err)
	}
	a.log.Info("there is room again")
	a.mu.Lock()
	a.refusing = false
	a.mu.Unlock()
	a.consumer.ChangeMaxInFlight(a.options.consumer.MaxInFlight)
}

// spareRoom is how much more than what did not fit has to fit before messages are taken again, in bytes.
const spareRoom = 256 << 10

// probe reports whether so many bytes and some more can be written.
func (a *archive) probe(bytes int64) error {
	err := probeFolder(a.folders.work, bytes+spareRoom)
	if err == nil && a.folders.separate() {
		err = probeFolder(a.folders.output, spareRoom)
	}
	return err
}

// probePrefix begins the names of files that are there only to see whether there is room.
const probePrefix = "room-"

func probeFolder(folder string, bytes int64) error {
	dir := filepath.Join(folder, recordFolder)
	if err := os.MkdirAll(dir, 0o770); err != nil {
		return err
	}
	defer os.Remove(dir) // fails while it is in use
	f, err := os.CreateTemp(dir, probePrefix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	zeros := make([]byte, 64<<10)
	for ; err == nil && bytes > 0; bytes -= int64(len(zeros)) {
		_, err = f.Write(zeros)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
