package nsqdata

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"brokerd/protocol"
)

func TestLoadMetadata(t *testing.T) {
	for name, c := range map[string]struct {
		file     string
		want     []TopicMeta
		warnings int
		bad      bool
	}{
		"null lists":     {file: `{"topics":null,"version":"1.3.0"}`},
		"empty lists":    {file: `{"topics":[{"name":"t","channels":[]}]}`, want: []TopicMeta{{Name: "t"}}},
		"nothing":        {file: `{}`},
		"any order":      {file: `{"topics":[{"name":"b"},{"name":"a","paused":true}]}`, want: []TopicMeta{{Name: "a", Paused: true}, {Name: "b"}}},
		"unknown keys":   {file: `{"x":1,"topics":[{"name":"t","y":{}}]}`, want: []TopicMeta{{Name: "t"}}},
		"invalid names":  {file: `{"topics":[{"name":"no good"},{"name":"t","channels":[{"name":""},{"name":"c"}]}]}`, want: []TopicMeta{{Name: "t", Channels: []ChannelMeta{{Name: "c"}}}}, warnings: 2},
		"twice the same": {file: `{"topics":[{"name":"t","channels":[{"name":"c"}]},{"name":"t","paused":true,"channels":[{"name":"c","paused":true},{"name":"b"}]}]}`, want: []TopicMeta{{Name: "t", Paused: true, Channels: []ChannelMeta{{Name: "b"}, {Name: "c", Paused: true}}}}},
		"zero length":    {bad: true},
		"cut":            {file: `{"topics":[{"name":"t"`, bad: true},
		"wrong type":     {file: `{"topics":"t"}`, bad: true},
		"two values":     {file: `{} {}`, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "nsqd.dat", []byte(c.file))
			m, warnings, err := LoadMetadata(dir)
			if c.bad != (err != nil) || len(warnings) != c.warnings || !reflect.DeepEqual(m.Topics, c.want) {
				t.Errorf("LoadMetadata = %+v, %q, %v", m, warnings, err)
			}
			if c.bad && !strings.Contains(err.Error(), filepath.Join(dir, "nsqd.dat")) {
				t.Errorf("error %v does not name the file", err)
			}
		})
	}
}

func TestMetadataWithoutAFile(t *testing.T) {
	if m, warnings, err := LoadMetadata(t.TempDir()); err != nil || len(m.Topics)+len(warnings) != 0 {
		t.Errorf("LoadMetadata = %+v, %q, %v", m, warnings, err)
	}
	if _, _, err := LoadMetadata(filepath.Join("testdata", "nsqd-folder.txt")); err == nil {
		t.Error("an unreadable file was taken for a missing one")
	}
}

func TestSaveMetadata(t *testing.T) {
	dir := t.TempDir()
	for want, m := range map[string]Metadata{
		`{"topics":null,"version":"9.9"}`: {},
		`{"topics":[{"name":"a","paused":false,"channels":null},{"name":"b","paused":true,"channels":[{"name":"c","paused":true},{"name":"d","paused":false}]}],"version":"9.9"}`: {
			Topics: []TopicMeta{{Name: "b", Paused: true, Channels: []ChannelMeta{{Name: "d"}, {Name: "c", Paused: true}}}, {Name: "a", Channels: []ChannelMeta{}}}},
	} {
		if err := SaveMetadata(dir, "9.9", m); err != nil {
			t.Fatal(err)
		}
		if got := string(read(t, dir, "nsqd.dat")); got != want {
			t.Errorf("wrote %s\nwant  %s", got, want)
		}
	}
	if names := fileNames(t, dir); len(names) != 1 {
		t.Errorf("files left: %v", names)
	}
	if err := SaveMetadata(filepath.Join(dir, "none"), "9.9", Metadata{}); err == nil {
		t.Error("writing into no folder succeeded")
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"topics":[{"name":"t","paused":true,"channels":[{"name":"c#ephemeral","paused":false}]}],"version":"1.3.0"}`))
	f.Add([]byte(`{"topics":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, err := parseMetadata(data)
		if err != nil {
			return
		}
		out, err := appendMetadata("1", m)
		if err != nil {
			t.Fatal(err)
		}
		again, warnings, err := parseMetadata(out)
		if err != nil || len(warnings) != 0 || !reflect.DeepEqual(m, again) {
			t.Fatalf("%s\n%+v\nthen %+v, %q, %v", out, m, again, warnings, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(record(1, "body"))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		if again := AppendRecord(nil, r.Timestamp, r.Attempts, r.ID, r.Body); string(again) != string(b) {
			t.Fatalf("%q became %q", b, again)
		}
	})
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	lock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second lock: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if lock, err = LockDir(dir); err != nil {
		t.Fatalf("lock after unlock: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
	for _, path := range []string{filepath.Join(dir, "none"), filepath.Join("testdata", "nsqd-folder.txt")} {
		if _, err := LockDir(path); err == nil || !strings.HasPrefix(err.Error(), "failed to lock data-path: ") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestIDs(t *testing.T) {
	dir := t.TempDir()
	reopen := func(want uint64) *IDs {
		t.Helper()
		ids, err := OpenIDs(dir)
		if err != nil || ids.Bound() != want {
			t.Fatalf("bound %d, %v, want %d", ids.Bound(), err, want)
		}
		return ids
	}
	ids := reopen(0)
	if err := ids.Reserve(1000); err != nil || ids.Bound() != 1000 {
		t.Fatal(ids.Bound(), err)
	}
	if err := ids.Reserve(10); err != nil || ids.Bound() != 1000 { // never back
		t.Fatal(ids.Bound(), err)
	}
	ids = reopen(1000) // killed: what was reserved may have been used
	if err := ids.Reserve(2000); err != nil {
		t.Fatal(err)
	}
	if err := ids.Close(1003); err != nil {
		t.Fatal(err)
	}
	ids = reopen(1003)
	if err := ids.Close(1004); err == nil {
		t.Error("a number that was never reserved was saved")
	}
	if err := ids.Reserve(protocol.MaxSequence + 2); err == nil || ids.Bound() != 1003 {
		t.Errorf("reserved more than there are: %v", err)
	}
	if err := ids.Reserve(protocol.MaxSequence + 1); err != nil {
		t.Error(err)
	}
	reopen(protocol.MaxSequence + 1)
	for _, damaged := range []string{"", "\n", "x", "-1\n", "1 2\n", "18014398509481985\n", "99999999999999999999"} {
		write(t, dir, "brokerd.ids", []byte(damaged))
		if _, err := OpenIDs(dir); err == nil || !strings.Contains(err.Error(), "brokerd.ids") {
			t.Errorf("%q: %v", damaged, err)
		}
	}
}
