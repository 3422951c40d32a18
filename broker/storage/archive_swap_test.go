package storage

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// swapped changes the content of two files of the same size, and returns what does it.
func (n *node) swapped(a, b string) func() {
	swap := func() {
		x, y := n.load(a), n.load(b)
		n.store(a, y)
		n.store(b, x)
	}
	swap()
	return swap
}

// twins returns two files of segments, of one topic where there is only one, of the same size, neither of them among the first two nor the last two.
func (n *node) twins() (a, b string) {
	n.t.Helper()
	bySize := map[int]string{}
	files := n.segmentFiles()
	slices.Sort(files)
	for _, name := range files[2 : len(files)-2] {
		size := len(n.load("segments/" + name))
		if other := bySize[size]; other != "" {
			return "segments/" + other, "segments/" + name
		}
		bySize[size] = name
	}
	n.t.Fatal("no two files have the same size")
	return "", ""
}

// TestKeptFilesThatHaveChangedPlaces: two files of history, of the same size, have changed places. A start, which looks into none, goes on; who reads
// again gets what is before them and waits, nothing counts as lost, and all the rest comes when they are back. Tools say it, and a repair that may lose
// something puts them aside.
func TestKeptFilesThatHaveChangedPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := archived(t, 300)
		w.end()
		whole := w.fs.KillClone()
		a, b := w.twins()
		swap := w.swapped(a, b)
		w.disk = nil
		tool := w.options()
		tool.FS, tool.Thorough = readOnly{w.fs}, true
		s := newStopped(tool)
		if err := s.readState(); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{a, b} {
			if !slices.ContainsFunc(s.Missing, func(m string) bool { return strings.Contains(m, filepath.Base(path)+" is another file (it is ") }) {
				t.Errorf("a tool does not say that %s is another file: %q", path, s.Missing)
			}
		}
		w.faults = true // not all that is kept can be looked at
		w.start()
		w.faults = false
		w.subscribe()
		got := w.rewound("beginning")
		time.Sleep(time.Minute)
		got = append(got, w.consume()...)
		if n := len(got); n == 0 || n > 290 || !slices.Equal(got, numbers(1, n)) {
			t.Errorf("%d messages come before a file that is another one: %v", n, got)
		}
		if n := w.topic().LookupChannel("c0").Stats().Counts.Discarded[journal.Unreadable]; n > 0 {
			t.Errorf("%d messages count as lost, which may be put back", n)
		}
		swap()
		time.Sleep(time.Minute)
		if got = append(got, w.consume()...); !slices.Equal(got, numbers(1, 300)) {
			t.Errorf("%d messages have come once the files are back", len(got))
		}
		w.end()

		w.fs = whole
		w.swapped(a, b)
		w.accept, w.faults = true, true
		w.start()
		w.subscribe()
		if got := w.rewound("beginning"); len(got) < 250 || len(got) > 295 || got[len(got)-1] != "300" {
			t.Errorf("a repair serves %d messages", len(got))
		}
		time.Sleep(time.Second)
		w.end()
		w.accept, w.faults = false, false
		w.start()
		w.subscribe()
		if aside := w.k.Aside(); aside != 2 {
			t.Errorf("%d files are put aside", aside)
		}
		w.end()
	})
}

// TestSegmentsThatHaveChangedPlaces: files of segments of one topic, of the same size, have changed places. The start refuses, changes nothing, and
// serves all once they are back.
func TestSegmentsThatHaveChangedPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		const count = 2000
		for range count / 50 {
			n.backlog("t0", 50)
			time.Sleep(10 * time.Second) // all is in segments, and in a checkpoint
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		swap := n.swapped(n.twins())
		before := n.tree()
		n.disk = nil
		_, _, err := Open(n.options())
		if !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "is another file (it is ") {
			t.Errorf("the start says %v", err)
		}
		if !maps.Equal(before, n.tree()) {
			t.Error("the folder was changed")
		}
		swap()
		n.start()
		if s := n.r.Lookup("t0").Channels()[0].Stats(); s.Held != count {
			t.Errorf("%d messages of %d are there", s.Held, count)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestARepairLeavesHistoryAlone: a repair does not know the configuration, by which topics keep messages: it drops none of them.
func TestARepairLeavesHistoryAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		patterns, _, err := policy.ParsePatterns([]string{"t0 retain_time=24h"}, false)
		if err != nil {
			t.Fatal(err)
		}
		configured := topic.Patterns{Topics: patterns}
		w := &keeping{node: newNode(t, 7)}
		w.r.SetPatterns(configured)
		w.subscribe()
		w.publish(50, 400)
		w.consume()
		w.end()
		w.accept = true
		w.start() // without what is configured
		time.Sleep(2 * time.Minute)
		w.end()
		w.accept = false
		w.start()
		w.r.SetPatterns(configured) // before anything looks
		w.subscribe()
		time.Sleep(time.Minute)
		if first, last, count := w.shown(); first != "1" || last != "50" || count != 50 {
			t.Errorf("%d messages are kept behind a repair, from %s to %s", count, first, last)
		}
		w.end()
	})
}

// TestAKeptFileOfZerosIsTold: a file that is known as a whole and has become zeros loses what was in it, and the log says so.
func TestAKeptFileOfZerosIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := archived(t, 300)
		w.end()
		path, _ := w.twins()
		w.store(path, make([]byte, len(w.load(path))))
		w.faults = true // not all that is kept is shown
		w.start()
		w.faults = false
		w.subscribe()
		got := w.rewound("beginning")
		if lost := 300 - len(got); lost < 3 || lost > 30 || got[len(got)-1] != "300" || w.damaged.Load() == 0 {
			t.Errorf("%d messages are lost of a file of zeros, and the log says so %d times", lost, w.damaged.Load())
		}
		w.end()
	})
}

// TestToolsTellOfLinksInTheArchive: tools look at every file. A link in the place of one that a start knows as a whole is told by its name, as any other is.
func TestToolsTellOfLinksInTheArchive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := archived(t, 300)
		w.end()
		path, _ := w.twins()
		w.disk = nil
		tool := w.options()
		faulty := vfs.NewFaulty(w.fs)
		faulty.SetRules(vfs.Rule{Ops: vfs.OpOpen, Path: filepath.Base(path), Err: vfs.ErrNotPlain})
		tool.FS, tool.Thorough = readOnly{faulty}, true
		if err := newStopped(tool).readState(); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), path) {
			t.Errorf("a tool says %v", err)
		}
	})
}
