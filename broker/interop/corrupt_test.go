package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

// specimen is the folder of a broker that has ended, as it was at an earlier clean stop, and what it has promised: for each channel
// the bodies that were acknowledged and are not finished.
type specimen struct {
	now, older string
	promised   map[string]map[string]bool // by topic:channel
	flags      []string
}

// The topics of a specimen: one is kept in the log, with much of it in segments; one is at level memory, in nsqd's files.
const (
	loggedTopic = "logged"
	plainTopic  = "plain"
)

// newSpecimen has a broker live twice, and stops it in order, or kills it at the end of its second life: then what level memory has is
// not promised.
func newSpecimen(t *testing.T, killed bool) *specimen {
	t.Helper()
	dir := t.TempDir()
	s := &specimen{now: filepath.Join(dir, "now"), older: filepath.Join(dir, "older"), promised: map[string]map[string]bool{},
		flags: []string{"--durability=disk", "--topic-durability=" + plainTopic + "=memory", "--mem-queue-size=100", "--max-bytes-per-file=65536"}}
	for _, ch := range []string{loggedTopic + ":a", loggedTopic + ":b", plainTopic + ":a"} {
		s.promised[ch] = map[string]bool{}
	}
	live := filepath.Join(dir, "live")
	for life := range 2 {
		b := newBroker(t, "brokerd", "brokerd", live, s.flags...)
		b.Start(t)
		b.Create(t, loggedTopic, "a", "b")
		b.Create(t, plainTopic, "a")
		s.publish(t, b, life)
		s.finish(t, b, 200)
		if life == 1 && killed {
			<-time.After(4 * time.Second) // what was written is synced, and the manifest knows each file's name; before that a power cut explains all
			b.Kill(t)
			delete(s.promised, plainTopic+":a")
		} else {
			b.Stop(t)
		}
		to := []string{s.older, s.now}[life]
		if err := copyFolder(to, live); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// publish publishes messages of a kilobyte, some of them deferred for a moment.
func (s *specimen) publish(t *testing.T, b *cmdtest.Process, life int) {
	t.Helper()
	c := prototest.Dial(t, "tcp", b.TCP)
	defer c.Conn.Close()
	send := func(topic, command string, bodies ...string) {
		c.Send(command)
		c.Expect("OK")
		for name, promised := range s.promised {
			if strings.HasPrefix(name, topic+":") {
				for _, body := range bodies {
					promised[body] = true
				}
			}
		}
	}
	for n := range 1500 {
		body := fmt.Sprintf("life %d, message %d %s", life, n, strings.Repeat(".", 1000))
		if n%100 == 99 {
			send(loggedTopic, "DPUB "+loggedTopic+" 500\n"+prototest.Body(body), body)
			continue
		}
		send(loggedTopic, prototest.Pub(loggedTopic, body), body)
		if n%5 == 0 {
			send(plainTopic, prototest.Pub(plainTopic, body), body)
		}
	}
}

// finish finishes so many messages of channel a, which are no longer promised.
func (s *specimen) finish(t *testing.T, b *cmdtest.Process, n int) {
	t.Helper()
	c := prototest.Dial(t, "tcp", b.TCP)
	defer c.Conn.Close()
	c.Send("SUB " + loggedTopic + " a\nRDY 10\n")
	c.Expect("OK")
	for range n {
		m := c.Next().Message()
		delete(s.promised[loggedTopic+":a"], string(m.Body))
		c.Send("FIN " + m.ID + "\n")
	}
	cmdtest.Eventually(t, "what was finished is gone", 10*time.Second, func() bool { // not before it hangs up: that would drop answers
		got := b.Channel(t, loggedTopic, "a")
		return int(got.Depth)+got.DeferredCount+got.InFlightCount == len(s.promised[loggedTopic+":a"])
	})
}

// copyFolder copies a folder. What is zero in a file is left out of the copy's blocks: most of the log's files are, as they are made before they are
// needed, and a folder is copied a hundred times.
func copyFolder(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inner, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, inner), 0o700)
		}
		return copySparse(filepath.Join(to, inner), path)
	})
}

// copySparse copies a file block by block, as most of a log's file is zeros, and memory for all of it is what would take longest.
func copySparse(to, from string) error {
	old, err := os.Open(from)
	if err != nil {
		return err
	}
	defer old.Close()
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	var block, zeros [64 << 10]byte
	for at := int64(0); err == nil; {
		var n int
		n, err = io.ReadFull(old, block[:])
		if part := block[:n]; !bytes.Equal(part, zeros[:n]) {
			if _, failed := file.WriteAt(part, at); failed != nil {
				err = failed
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = file.Truncate(at)
			break
		}
	}
	return errors.Join(err, file.Close())
}

// corruption is something that happens to a stopped folder.
type corruption struct {
	name  string
	files []string // relative to the folder; a refusal must name one of them, or its folder
	do    func(dir, older string) error
	// told says that less than all may be served when the log says so: damage within a file of messages stays within its block, and
	// nsqd's own queue files have nothing that could tell a lost one.
	told bool
	mute bool // a body may come that was changed: there is no checksum
}

// way is what may happen to a file: path is the file, older what it was at an earlier stop, if it was there.
type way struct {
	name string
	do   func(path, older string) error
	told bool // of a file that holds messages, see corruption
}

// change returns a way that writes a file anew.
func change(name string, f func(data []byte) []byte) way {
	return way{name: name, told: true, do: func(path, _ string) error {
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, f(data), 0o600)
		}
		return err
	}}
}

func flip(name string, at func(size int) int) way {
	return change("flipped in "+name, func(data []byte) []byte {
		if len(data) > 0 {
			data[max(0, min(at(len(data)), len(data)-1))] ^= 0x10
		}
		return data
	})
}

var ways = []way{
	flip("its first bytes", func(int) int { return 3 }),
	flip("its head", func(int) int { return 17 }),
	flip("its middle", func(size int) int { return size / 2 }),
	flip("its end", func(size int) int { return size - 1 }),
	change("emptied", func([]byte) []byte { return nil }),
	change("cut by half", func(data []byte) []byte { return data[:len(data)/2] }),
	change("cut by a byte", func(data []byte) []byte { return data[:max(0, len(data)-1)] }),
	change("zeroed", func(data []byte) []byte { clear(data); return data }),
	{name: "vanished", do: func(path, _ string) error { return os.Remove(path) }},
	{name: "is an older copy", do: func(path, older string) error {
		data, err := os.ReadFile(older)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it is younger: nothing happens
		}
		if err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o600)
	}},
}

// corruptions returns everything that may happen: each way for the first and the last file of each kind, and kinds and folders that
// vanish as a whole, alone and together.
func corruptions(t *testing.T, s *specimen) (list []corruption) {
	t.Helper()
	all := map[string][]string{}
	for _, kind := range []struct {
		name, pattern     string
		messages, nothing bool // it holds messages that stand nowhere else; a lost one can be told by nothing
	}{
		{"log file", "journal/*.wal", true, false}, {"checkpoint", "checkpoint.*", false, false}, {"segment", "segments/*/*.seg", true, false},
		{"manifest", "manifest*", false, false}, {"ids", "brokerd.ids", false, false}, {"list of topics", "nsqd.dat", false, false},
		{"queue", plainTopic + "*.diskqueue.0*.dat", true, true}, {"meta file", plainTopic + "*.diskqueue.meta.dat", false, true},
		{"reserve", "reserve", false, false},
	} {
		files := matches(t, s.now, kind.pattern)
		all[kind.name] = files
		for i, file := range files {
			if i > 0 && i < len(files)-1 {
				continue
			}
			for _, w := range ways {
				list = append(list, corruption{name: fmt.Sprintf("%s %s (%s)", kind.name, w.name, filepath.Base(file)), files: []string{file},
					told: w.told && kind.messages || kind.nothing, mute: kind.name == "queue" && strings.HasPrefix(w.name, "flipped"),
					do: func(dir, older string) error { return w.do(filepath.Join(dir, file), filepath.Join(older, file)) }})
			}
		}
	}
	for _, together := range [][]string{{"log file"}, {"checkpoint"}, {"segment"}, {"log file", "checkpoint"}, {"manifest", "checkpoint"},
		{"manifest", "checkpoint", "segment"}, {"manifest", "log file"}, {"checkpoint", "ids"}, {"list of topics", "ids", "reserve"}} {
		var files []string
		for _, kind := range together {
			files = append(files, all[kind]...)
		}
		list = append(list, corruption{name: "vanished: every " + strings.Join(together, ", "), files: files, do: func(dir, _ string) error {
			var errs []error
			for _, file := range files {
				errs = append(errs, os.Remove(filepath.Join(dir, file)))
			}
			return errors.Join(errs...)
		}})
	}
	for _, folder := range []string{"journal", "segments"} {
		list = append(list, corruption{name: "vanished: the folder " + folder, files: []string{folder},
			do: func(dir, _ string) error { return os.RemoveAll(filepath.Join(dir, folder)) }})
	}
	return list
}

// matches returns the files of a folder that fit a pattern, relative and sorted.
func matches(t *testing.T, dir, pattern string) (files []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	slices.Sort(files)
	return files
}

// TestCorruptedFolders: whatever happens to the folder of a stopped broker, a start serves all that was promised, or it refuses and
// names what is missing, and serves all once that is put back; damage within a block of messages costs no more than that block, and
// the log says so. Never silently less.
func TestCorruptedFolders(t *testing.T) {
	t.Parallel()
	whole := os.Getenv("BROKERD_CRASH_ROUNDS") != ""
	for name, killed := range map[string]bool{"stopped": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpecimen(t, killed)
			var mu sync.Mutex
			outcomes := map[string]int{}
			list := corruptions(t, s)
			if !whole { // what takes minutes is for make crash: a file vanishes, each second one after a stop, and the others after a kill
				list = slices.DeleteFunc(list, func(c corruption) bool { return !strings.Contains(c.name, "vanished") })
				turn := killed
				list = slices.DeleteFunc(list, func(corruption) bool { turn = !turn; return turn })
			}
			t.Run("folder", func(t *testing.T) {
				for _, c := range list {
					t.Run(c.name, func(t *testing.T) {
						t.Parallel()
						outcome := s.suffer(t, c)
						mu.Lock()
						outcomes[outcome]++
						mu.Unlock()
					})
				}
			})
			t.Logf("%d corruptions: %v", len(list), outcomes)
		})
	}
}

// suffer has a broker start on a copy of the folder to which something happened, and says what came of it.
func (s *specimen) suffer(t *testing.T, c corruption) (outcome string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := errors.Join(copyFolder(dir, s.now), c.do(dir, s.older)); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, "brokerd", "brokerd", dir, s.flags...)
	if err := b.TryStart(t); err != nil {
		if !c.named(err.Error()) {
			t.Errorf("the start refuses and does not name what is wrong:\n%v", err)
		}
		if err := copyFolder(dir+"-mended", dir); err != nil { // what the start has changed counts as well
			t.Fatal(err)
		}
		s.repair(t, dir)
		s.putBack(t, c, dir+"-mended")
		b = newBroker(t, "brokerd", "brokerd", dir+"-mended", s.flags...)
		b.Start(t)
		if missing := s.missing(t, b); missing > 0 {
			t.Errorf("after a refused start, and with all put back, %d messages are missing", missing)
		}
		return "refused"
	}
	missing := s.missing(t, b)
	b.Stop(t)
	switch said := b.Log(t); {
	case missing == 0:
		return "all served"
	case c.mute && missing == 1:
		return "one body changed, which nsqd's layout does not tell"
	case !c.told:
		t.Errorf("%d messages are missing, and it starts", missing)
	case !c.named(said) || !regexp.MustCompile("level=(ERROR|WARN)").MatchString(said):
		t.Errorf("%d messages are missing, and the log does not name %v", missing, c.files)
	}
	return "less, told"
}

// repair gives up what is missing of a folder on which a start refuses. A broker must serve then what the repair has said.
func (s *specimen) repair(t *testing.T, dir string) {
	t.Helper()
	if tool := cmdtest.Tool(t, "brokerd", "repair", dir); tool.Wait(t, 20*time.Second) == 0 {
		t.Errorf("a repair that may lose nothing says that all is well:\n%s", tool.Output(t))
	}
	tool := cmdtest.Tool(t, "brokerd", "repair", "--accept-loss", dir)
	if code := tool.Wait(t, 20*time.Second); code != 0 {
		t.Logf("no repair, exit code %d: %s", code, tool.LastWords()) // of what is not the log's, as the list of topics
		return
	}
	said := map[string]int{}
	for _, m := range repaired.FindAllStringSubmatch(tool.Output(t), -1) {
		for _, n := range m[2:] {
			count, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			said[loggedTopic+":"+m[1]] += count
		}
	}
	b := newBroker(t, "brokerd", "brokerd", dir, s.flags...)
	b.Start(t)
	for _, channel := range []string{"a", "b"} {
		name := loggedTopic + ":" + channel
		got := len(drainOf(t, b, loggedTopic, channel))
		if got != said[name] {
			t.Errorf("%s has %d messages after a repair that said %d:\n%s", name, got, said[name], tool.Output(t))
		}
		if promised := len(s.promised[name]); got < promised && !strings.Contains(tool.Output(t), "given up: ") {
			t.Errorf("%s has %d of %d messages after a repair that does not say what it gave up:\n%s", name, got, promised, tool.Output(t))
		}
	}
	b.Stop(t)
}

// repaired finds what a repair says that is served.
var repaired = regexp.MustCompile("topic " + loggedTopic + `, channel (\w+): (\d+) waiting, (\d+) out, (\d+) deferred are served`)

// named reports whether a text names one of the files, a place in one of the log's, or the queue that one is of.
func (c *corruption) named(text string) bool {
	for _, file := range c.files {
		base := filepath.Base(file)
		queue, _, _ := strings.Cut(base, ".diskqueue.")
		place := strings.TrimLeft(strings.TrimSuffix(base, ".wal"), "0") + ":" // in the log
		if strings.Contains(text, base) || queue != base && strings.Contains(text, queue) || place != base+":" && strings.Contains(text, place) {
			return true
		}
	}
	return false
}

// putBack puts back the files to which something happened.
func (s *specimen) putBack(t *testing.T, c corruption, dir string) {
	t.Helper()
	for _, file := range c.files {
		from, to := filepath.Join(s.now, file), filepath.Join(dir, file)
		info, err := os.Stat(from)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			err = errors.Join(os.RemoveAll(to), copyFolder(to, from))
		} else {
			var data []byte
			data, err = os.ReadFile(from)
			err = errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, data, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// missing consumes all that a broker has, and returns how many of the promised messages do not come.
func (s *specimen) missing(t *testing.T, b *cmdtest.Process) (missing int) {
	t.Helper()
	for name, promised := range s.promised {
		topic, channel, _ := strings.Cut(name, ":")
		got := drainOf(t, b, topic, channel)
		for body := range promised {
			if !got[body] {
				missing++
			}
		}
	}
	return missing
}
