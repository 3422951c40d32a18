package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// archived is a node with a topic that keeps count messages of 400 bytes in files of 8 KiB, nearly all of which are known as a whole.
func archived(t *testing.T, count int) *keeping {
	w := keep(t, `{"retain_time":"24h"}`)
	for w.num < count {
		w.publish(5, 400)
		w.consume()
		w.rest(1) // so that blocks are small
	}
	w.rest(3)
	return w
}

// rest has so many checkpoints written: a file is known as a whole in the one after that which has synced it.
func (w *keeping) rest(checkpoints int32) {
	w.k.owed.Store(checkpoints)
	w.k.wakeups.wake()
	time.Sleep(time.Duration(checkpoints) * 3 * time.Second)
	synctest.Wait()
	if n := w.k.owed.Load(); n > 0 {
		w.t.Errorf("%d checkpoints are still to be written", n)
	}
}

// files returns the paths of the topic's files of segments, in order.
func (w *keeping) files() (list []string) {
	for path := range w.tree() {
		if strings.HasSuffix(path, ".seg") {
			list = append(list, path)
		}
	}
	slices.Sort(list)
	return list
}

// numbers returns the names of messages from one on, up to another.
func numbers(from, to int) (list []string) {
	for n := from; n <= to; n++ {
		list = append(list, fmt.Sprint(n))
	}
	return list
}

func placeOf(t *testing.T, text string) topic.Place {
	t.Helper()
	p, err := topic.ParsePlace(text, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rewound has the channel read again from a place, and returns what comes.
func (w *keeping) rewound(place string) []string {
	w.t.Helper()
	if _, err := w.topic().LookupChannel("c0").Rewind(placeOf(w.t, place), false); err != nil {
		w.t.Fatal(err)
	}
	return w.consume()
}

// opened counts, by file of segments, how often one is opened.
type opened struct {
	mu   sync.Mutex
	list map[string]int
}

func (o *opened) op(op vfs.Op, path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if op == vfs.OpOpen && strings.HasSuffix(path, ".seg") {
		o.list[filepath.Base(path)]++
	}
}

// TestKeptFilesAreOneEntryEach: what is only kept costs one entry for each file, and a start opens none of those; all of it can be read again,
// before and after, from anywhere, and goes with time.
func TestKeptFilesAreOneEntryEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := archived(t, 1000)
		check := func(when string) {
			t.Helper()
			files := len(w.files())
			if nodes := int(w.r.OnDisk()); files < 40 || nodes > files+8 {
				t.Errorf("%s: %d files have %d entries", when, files, nodes)
			}
			if first, last, count := w.shown(); first != "1" || last != "1000" || count != 1000 {
				t.Errorf("%s: %d messages are shown, from %s to %s", when, count, first, last)
			}
			for place, from := range map[string]int{"beginning": 1, "pos:500": 500, "pos:997": 997} {
				if got := w.rewound(place); !slices.Equal(got, numbers(from, 1000)) {
					t.Errorf("%s: a rewind to %s brings %d messages", when, place, len(got))
				}
			}
		}
		check("at first")
		seen := opened{list: map[string]int{}}
		w.disk.Observe(seen.op)
		w.again()
		w.disk.Observe(nil)
		if len(seen.list) > 8 {
			t.Errorf("a start opens %d of %d files", len(seen.list), len(w.files()))
		}
		check("after a kill")
		time.Sleep(25 * time.Hour)
		w.publish(1, 10)
		w.rest(3)
		if first, _, count := w.shown(); first != "1001" || count != 1 || len(w.files()) > 3 {
			t.Errorf("%d messages are shown a day later, from %s on, in %d files", count, first, len(w.files()))
		}
		w.end()
	})
}

// TestAKeptFileIsReadInPieces: a consumer that is in the middle of a file when the node is killed goes on there, what is deferred in it comes when it is
// due, and the file stays as long as that.
func TestAKeptFileIsReadInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := archived(t, 300)
		w.sub.SetReady(3)
		if _, err := w.topic().LookupChannel("c0").Rewind(placeOf(t, "pos:100"), false); err != nil {
			t.Fatal(err)
		}
		var bodies []string
		var answers []topic.Answer
		for d := (topic.Delivery{}); len(bodies) < 3; d.Clear() {
			synctest.Wait()
			if w.sub.Take(&d) == 0 {
				continue
			}
			each(&d, func(f protocol.MessageFrame) {
				bodies = append(bodies, name(f.Body()))
				answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Requeue, Delay: time.Minute})
			})
		}
		w.sub.Apply(answers[1:], nil)
		if !slices.Equal(bodies, numbers(100, 102)) {
			t.Errorf("a rewind to 100 brings %v first", bodies)
		}
		w.set(`{"retain_time":null}`)
		w.again()
		got := w.consume()
		if !slices.Contains(got, "100") || slices.Contains(got, "101") || len(got) != 199 {
			t.Errorf("%d messages come after a kill, %v first", len(got), got[:min(3, len(got))])
		}
		w.rest(3)
		time.Sleep(2 * time.Minute)
		if got := w.consume(); !slices.Equal(got, numbers(101, 102)) {
			t.Errorf("%v come when they are due", got)
		}
		w.rest(3)
		time.Sleep(time.Minute)
		if n := len(w.files()); n > 2 {
			t.Errorf("%d files are left though nobody needs a message", n)
		}
		w.end()
	})
}

// TestALookIntoAKeptFileReadsOneBlock: who asks for one message of a file that is kept as a whole reads the block that holds it, and none before.
func TestALookIntoAKeptFileReadsOneBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := archived(t, 300)
		_, before := w.r.Browsed()
		for pos := topic.Position(1); pos <= 200; pos++ {
			got, err := w.topic().Browse(t.Context(), topic.Look{From: pos, Limit: 1})
			if err != nil || len(got.Messages) != 1 || got.Messages[0].Pos != pos {
				t.Fatalf("%d: %v, %v", pos, got.Messages, err)
			}
			_, after := w.r.Browsed()
			if read := after - before; read > 5*500 { // archived publishes five messages of 400 bytes at once
				t.Errorf("for the message at %d %d bytes were looked through", pos, read)
			}
			before = after
		}
		w.end()
	})
}

// TestKeptFilesThatAreNotWhatTheyWere: one that is missing or cut short refuses the start; one that is longer is looked into; one with damage inside
// loses what it touches, when it is read, and is put aside in the end.
func TestKeptFilesThatAreNotWhatTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := archived(t, 300)
		w.end()
		whole := w.fs
		path := w.files()[3]
		file := strings.TrimPrefix(path, "data/")
		hurt := func(f func(b []byte) []byte) {
			w.fs = whole.KillClone()
			if b := f(w.load(file)); b != nil {
				w.store(file, b)
			} else if err := w.fs.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		for what, f := range map[string]func(b []byte) []byte{
			"is missing":   func([]byte) []byte { return nil },
			"is cut short": func(b []byte) []byte { return b[:len(b)-1] },
		} {
			hurt(f)
			w.disk = nil
			if _, _, err := Open(w.options()); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), filepath.Base(path)+" "+what) {
				t.Errorf("a start on a file that %s: %v", what, err)
			}
		}
		hurt(func(b []byte) []byte { return append(b, make([]byte, 100)...) })
		w.start()
		w.subscribe()
		if got := w.rewound("beginning"); !slices.Equal(got, numbers(1, 300)) {
			t.Errorf("%d messages come of files of which one has become longer", len(got))
		}
		w.end()
		hurt(func(b []byte) []byte {
			b[len(b)/2] ^= 1 // of a message
			b[40] ^= 1       // of the first header
			return b
		})
		w.start()
		w.subscribe()
		got := w.rewound("beginning")
		if lost := 300 - len(got); lost < 2 || lost > 15 || got[len(got)-1] != "300" {
			t.Errorf("%d messages are lost of a file with damage", lost)
		}
		if s := w.topic().LookupChannel("c0").Stats(); s.Counts.Discarded[journal.Unreadable] != uint64(300-len(got)) || !s.Balanced {
			t.Errorf("the channel counts %+v, with %d lost", s.Counts, 300-len(got))
		}
		w.set(`{"retain_time":null}`)
		w.rest(3)
		if aside := w.k.Aside(); aside != 1 {
			t.Errorf("%d files are put aside", aside)
		}
		w.end()
		w.fs = whole
	})
}
