package ship

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"brokerd/apps/appkit"
	"brokerd/cmd/cmdtest"
)

// proofLines is how many lines the whole chain is proven with; APPS_PROOF_LINES sets another number.
const proofLines = 60_000

// tally counts lines by their hashes.
type tally struct {
	seed  maphash.Seed
	times map[uint64]int
}

func newTally() *tally { return &tally{maphash.MakeSeed(), make(map[uint64]int)} }

func (w *tally) hash(line []byte) uint64 { return maphash.Bytes(w.seed, line) }

// goSource calls line with so many lines of the Go library's source, each with its place in front so that no two are the same.
func goSource(t *testing.T, n int, line func(text string)) {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "src")
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, root)
		for i, source := range strings.Split(string(text), "\n") {
			if n--; n < 0 {
				return fs.SkipAll
			}
			line(name + ":" + strconv.Itoa(i+1) + ":" + source)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// writeLines puts lines behind what a log has.
func writeLines(t *testing.T, path string, lines []string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 64<<10)
	for _, line := range lines {
		w.WriteString(line + "\n")
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestChainWithKills sends real lines through ship, a broker and tofile, and kills the broker, the lookup and both tools in turn all the
// while. Each line must be in the archive at least once, and nothing else.
func TestChainWithKills(t *testing.T) { chain(t, "lookupd", "brokerd") }

// TestInteropChainWithKills is the same with NSQ's own daemons. Nsqd loses what is in memory when it is killed, so it is not; and it needs
// half a minute to be back in a lookup, which is killed but once, at the end.
func TestInteropChainWithKills(t *testing.T) { chain(t, "nsqlookupd", "nsqd") }

func chain(t *testing.T, lookupName, brokerName string) {
	n := proofLines
	if text := os.Getenv("APPS_PROOF_LINES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	dir, out := t.TempDir(), t.TempDir()
	lookup := cmdtest.Lookup(t, lookupName)
	broker := cmdtest.Broker(t, brokerName, []*cmdtest.Process{lookup})
	broker.Create(t, "lines", "nsq_to_file")
	log, state := filepath.Join(dir, "log"), filepath.Join(dir, "state")
	shipper := cmdtest.Verb(t, "ship", "--topic=lines", "--nsqd-tcp-address="+broker.TCP, "--state-file="+state, "--poll-interval=20ms",
		"--rotate-wait=300ms", log)
	archiver := cmdtest.Verb(t, "tofile", "--topic=lines", "--lookupd-http-address="+lookup.HTTP, "--output-dir="+out, "--gzip", "--gzip-level=1",
		"--rotate-size=20000000", "--sync-interval=200ms", "--max-in-flight=2000", "--consumer-opt=lookupd_poll_interval,200ms")
	victims := []*cmdtest.Process{broker, lookup, shipper, archiver}
	if brokerName == "nsqd" {
		victims = victims[2:]
	}

	want := newTally()
	var lines []string
	goSource(t, n, func(text string) {
		lines = append(lines, text)
		want.times[want.hash([]byte(text))] = 0
	})
	began, kills, pieces := time.Now(), make(map[string]int), max(12, n/25_000)
	for turn := range pieces {
		before := archived(t, out)
		writeLines(t, log, lines[turn*n/pieces:(turn+1)*n/pieces])
		cmdtest.Eventually(t, "more is archived", time.Minute, func() bool { return archived(t, out) > before })
		victim := victims[turn%len(victims)]
		if turn+1 == pieces {
			victim = lookup
		}
		victim.Kill(t)
		if turn+1 < pieces {
			if err := os.Rename(log, fmt.Sprintf("%s.%d", log, turn)); err != nil {
				t.Fatal(err)
			}
		}
		victim.Start(t)
		kills[victim.Label]++
	}
	cmdtest.Eventually(t, "all is shipped", 2*time.Minute, func() bool { return shipped(t, log, state) })
	cmdtest.Eventually(t, "the channel is empty", 2*time.Minute, func() bool {
		f := broker.Topic(t, "lines")
		c := cmdtest.ChannelOf(f, "nsq_to_file")
		return c.ChannelName != "" && f.Depth+c.Depth+int64(c.InFlightCount)+int64(c.DeferredCount) == 0
	})
	archiver.Stop(t)
	shipper.Stop(t)
	took := time.Since(began)

	twice := want.count(t, out)
	lost := 0
	for _, line := range lines {
		if want.times[want.hash([]byte(line))] == 0 {
			if lost++; lost <= 5 {
				t.Errorf("%q is lost", line)
			}
		}
	}
	t.Logf("%s lines through ship, %s and tofile in %v, killed %v: %d lost, %s came again", appkit.Grouped(int64(len(lines))), brokerName,
		took.Round(time.Millisecond), kills, lost, appkit.Grouped(int64(twice)))
}

// count counts the archived lines, and returns how many were there before.
func (w *tally) count(t *testing.T, dir string) (twice int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		unpack := exec.Command("gzip", "-dc", file)
		unpack.Stderr = os.Stderr
		out, err := unpack.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := unpack.Start(); err != nil {
			t.Fatalf("the files are read with the standard gzip: %v", err)
		}
		for r := bufio.NewReaderSize(out, 1<<20); ; {
			line, err := r.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 {
				break
			}
			if err != nil {
				t.Fatalf("%s ends in the middle of a line: %v", file, err)
			}
			hash := w.hash(line[:len(line)-1])
			times, ok := w.times[hash]
			if !ok {
				t.Errorf("%q in %s was never written", line, file)
			} else if times > 0 {
				twice++
			}
			w.times[hash] = times + 1
		}
		if err := unpack.Wait(); err != nil {
			t.Errorf("gzip cannot read %s: %v", file, err)
		}
	}
	return twice
}

// shipped reports whether all that is in the log, and in what it was before, is published, as the state says.
func shipped(t *testing.T, log, stateFile string) bool {
	t.Helper()
	text, err := os.ReadFile(stateFile)
	if err != nil {
		return false
	}
	s, err := parseState(text)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(log)
	return err == nil && len(s.Files) == 1 && s.Files[0].Path == log && s.Files[0].Offset == info.Size()
}

// archived returns how many bytes there are in the files of a folder.
func archived(t *testing.T, dir string) (size int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			size += info.Size()
		}
	}
	return size
}
