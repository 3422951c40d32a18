package stall

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/vfs"
)

// told returns a Watch, and what gives the lines of its log so far, without their times.
func told() (*Watch, func() []string) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	return New(log), func() []string {
		synctest.Wait()
		return slices.DeleteFunc(strings.Split(b.String(), "\n"), func(line string) bool { return line == "" })
	}
}

func expectLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A call that is out is told of from Patience on, once, and when it is back; whoever asks is told meanwhile, and is not a moment later.
func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, lines := told()
		c := w.Waited("sync the log")
		time.Sleep(Patience - time.Millisecond)
		expectLines(t, lines())
		if err := w.Err(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond)
		const says = `level=ERROR msg="the disk does not answer" waiting=publishes to="sync the log" for=5s`
		expectLines(t, lines(), says)
		time.Sleep(time.Hour)
		if err := w.Err(); err == nil || err.Error() != "the disk has not answered for 3605 s: publishes wait for it to sync the log" {
			t.Error(err)
		}
		if publish, other := w.Out(); publish != time.Hour+Patience || other != 0 {
			t.Error(publish, other)
		}
		c.Done()
		if err := w.Err(); err != nil {
			t.Error(err)
		}
		expectLines(t, lines(), says, `level=INFO msg="the disk answers again" waited=publishes took=1h0m5s`)
	})
}

// What no publish waits for is no matter of health, and is not told of beside what publishes wait for.
func TestOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, lines := told()
		read := w.Call("read", "000001.seg")
		time.Sleep(Patience)
		says := []string{`level=WARN msg="the disk does not answer" waiting="no publish" to=read name=000001.seg for=5s`}
		expectLines(t, lines(), says...)
		if err := w.Err(); err != nil {
			t.Error(err)
		}
		read.Done()
		says = append(says, `level=INFO msg="the disk answers again" waited="no publish" took=5s`)
		expectLines(t, lines(), says...)

		write, reads := w.Waited("write"), []*Call{w.Call("read", "1"), w.Call("read", "2")}
		time.Sleep(Patience)
		says = append(says, `level=ERROR msg="the disk does not answer" waiting=publishes to=write for=5s`)
		expectLines(t, lines(), says...)
		write.Done() // and the others still hang
		says = append(says, `level=INFO msg="the disk answers again" waited=publishes took=5s`,
			`level=WARN msg="the disk does not answer" waiting="no publish" to=read name=1 for=5s`)
		got := lines()
		if len(got) > 4 {
			got[4] = strings.Replace(got[4], "name=2", "name=1", 1) // both are as old
		}
		expectLines(t, got, says...)
		reads[0].Done()
		expectLines(t, lines()[len(says):])
		reads[1].Done()
		expectLines(t, lines()[len(says):], `level=INFO msg="the disk answers again" waited="no publish" took=5s`)
	})
}

// A call in a slot is noticed within a sample. Calls that come back, however many and however close, are none that hangs.
func TestSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, lines := told()
		s := w.Slot("write the log")
		for range 10000 { // 10 s, never without one that is out when it is looked at
			s.Begin()
			time.Sleep(time.Millisecond)
			s.End()
		}
		expectLines(t, lines())
		if publish, _ := w.Out(); publish != 0 {
			t.Error(publish)
		}
		s.Begin()
		time.Sleep(Patience - time.Millisecond)
		if err := w.Err(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond + sampled)
		if err := w.Err(); err == nil || !strings.Contains(err.Error(), "for 5 s") {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		s.End()
		if err := w.Err(); err != nil {
			t.Error(err)
		}
		if got := lines(); len(got) != 2 || !strings.Contains(got[0], `level=ERROR msg="the disk does not answer" waiting=publishes to="write the log" for=5s`) ||
			!strings.Contains(got[1], `level=INFO msg="the disk answers again" waited=publishes took=1m5`) {
			t.Error(got)
		}
	})
}

// Nothing runs while nothing is out: neither for slots nor for calls.
func TestNothingTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := told()
		s := w.Slot("write the log")
		for range 3 {
			s.Begin()
			if !w.awake.Load() {
				t.Error("a slot is not looked at while it is used")
			}
			s.End()
			time.Sleep(3 * sampled)
			synctest.Wait()
			if w.awake.Load() {
				t.Error("slots are looked at that are not used")
			}
			if w.timer.Stop() {
				t.Error("a timer runs while nothing is out")
			}
			c := w.Call("read", "1")
			c.Done()
			if c.timer.Stop() {
				t.Error("a timer runs of a call that is back")
			}
		}
	})
}

// The file system passes everything on, and each of its calls is known while it is out.
func TestFS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, lines := told()
		disk := vfs.NewFaulty(vfs.NewMem())
		files := w.FS(disk)
		hang := false
		disk.Observe(func(vfs.Op, string) {
			if hang {
				time.Sleep(Patience + time.Millisecond)
			}
		})
		var f, read vfs.File
		for _, do := range []func() error{
			func() error { return files.MkdirAll("d") },
			func() (err error) { f, err = files.Create("d/f"); return err },
			func() error { _, err := f.WriteAt([]byte("x"), 0); return err },
			func() error { return f.Sync() },
			func() error { return f.WriteOut(0, 1) },
			func() error { return f.Preallocate(10) },
			func() error { return f.Truncate(5) },
			func() error { return files.SyncDir("d") },
			func() (err error) { read, err = files.OpenWrite("d/f"); return err },
			func() error { return read.Close() },
			func() (err error) { read, err = files.Open("d/f"); return err },
			func() error { _, err := read.ReadAt(make([]byte, 1), 0); return err },
			func() error { _, err := f.Size(); return err },
			func() error { _, err := f.Links(); return err },
			func() error { return read.Forget() },
			func() error { _, err := files.Size("d/f"); return err },
			func() error { _, err := files.List("d"); return err },
			func() error { _, err := files.Free("d"); return err },
			func() error {
				if is, err := files.Is("d/f", f); err != nil || !is {
					t.Error("the file is not known by its name:", err)
				}
				return nil
			},
			func() error { return files.Link("d/f", "d/h") },
			func() error { return files.Rename("d/f", "d/g") },
			func() error { return files.Remove("d/g") },
			func() error { return f.Close() },
		} {
			before := len(lines())
			hang = true
			if err := do(); err != nil {
				t.Error(err)
			}
			hang = false
			if got := lines()[before:]; len(got) != 2 || !strings.Contains(got[0], "level=WARN") {
				t.Errorf("after %d lines: %v", before, got)
			}
		}
	})
}

// Without a Watch nothing is known, and all goes on.
func TestNone(t *testing.T) {
	var w *Watch
	w.Waited("x").Done()
	w.Call("x", "y").Done()
	s := w.Slot("x")
	s.Begin()
	s.End()
	if err := w.Err(); err != nil {
		t.Error(err)
	}
	if mem := vfs.FS(vfs.NewMem()); w.FS(mem) != mem {
		t.Error("another file system")
	}
}

func BenchmarkSlot(b *testing.B) {
	s := New(slog.New(slog.DiscardHandler)).Slot("x")
	for b.Loop() {
		s.Begin()
		s.End()
	}
}

func BenchmarkCall(b *testing.B) {
	w := New(slog.New(slog.DiscardHandler))
	b.ReportAllocs()
	for b.Loop() {
		w.Call("x", "y").Done()
	}
}
