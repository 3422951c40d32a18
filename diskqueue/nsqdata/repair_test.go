package nsqdata

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// three returns a data file of three records, each of size bytes with its length.
func three(t testing.TB) (data []byte, size int) {
	t.Helper()
	for id := range 3 {
		data = append(data, framed(record(id, "0123456789"))...)
	}
	return data, len(data) / 3
}

// However short a data file is, with or without a file behind it, the whole records in front of the cut are delivered, the
// damaged file is kept, and what is put afterwards is delivered too.
func TestTruncatedAtEachLength(t *testing.T) {
	data, size := three(t)
	for _, following := range []bool{false, true} {
		for length := 0; length <= len(data); length += 1 + length%3 {
			t.Run(fmt.Sprintf("%d,%v", length, following), func(t *testing.T) {
				dir := t.TempDir()
				write(t, dir, "t.diskqueue.000000.dat", data[:length])
				meta, want := extent{depth: 3, write: place{0, int64(len(data))}}, length/size
				if following {
					write(t, dir, "t.diskqueue.000001.dat", framed(record(7, "behind")))
					meta, want = extent{depth: 4, write: place{1, int64(len(framed(record(7, "behind"))))}}, want+1
				}
				write(t, dir, "t.diskqueue.meta.dat", meta.encode())
				q := mustOpen(t, "t", testOptions(dir))
				if ids := takeIDs(t, q, 100); len(ids) != want || q.Depth() != 0 {
					t.Errorf("took %v, depth then %d, want %d records", ids, q.Depth(), want)
				}
				mustPut(t, q, 10, 20, "after the damage")
				wantIDs(t, q, 10, 20)
				bad, err := os.ReadFile(filepath.Join(dir, "t.diskqueue.000000.dat.bad"))
				if torn := length%size != 0; torn != (err == nil) || torn && !bytes.Equal(bad, data[:length]) {
					t.Errorf("damaged file: %d bytes, %v", len(bad), err)
				}
			})
		}
	}
}

func TestDamage(t *testing.T) {
	data, size := three(t)
	withLength := func(n int32) []byte {
		b := bytes.Clone(data)
		binary.BigEndian.PutUint32(b[size:], uint32(n))
		return b
	}
	behind := framed(record(3, "behind"))
	for name, c := range map[string]struct {
		meta       string
		files      [][]byte
		depth      int64 // right after Open
		want, lost int
	}{
		"whole":                        {"4\n0,0\n1,42\n", [][]byte{data, behind[:36]}, 4, 4, 0},
		"zero length record":           {"4\n0,0\n1,36\n", [][]byte{withLength(0), behind}, 4, 2, 2},
		"negative length":              {"4\n0,0\n1,36\n", [][]byte{withLength(-1), behind}, 4, 2, 2},
		"length over the limit":        {"4\n0,0\n1,36\n", [][]byte{withLength(1 << 30), behind}, 4, 2, 2},
		"length under the header":      {"4\n0,0\n1,36\n", [][]byte{withLength(25), behind}, 4, 2, 2},
		"length beyond the file":       {"4\n0,0\n1,36\n", [][]byte{withLength(500), behind}, 4, 2, 2},
		"zeros":                        {"4\n0,0\n1,36\n", [][]byte{make([]byte, 300), behind}, 4, 1, 3},
		"missing file in the middle":   {"4\n0,0\n2,36\n", [][]byte{data, nil, behind}, 4, 4, 0},
		"missing first file":           {"4\n0,0\n1,36\n", [][]byte{nil, behind}, 4, 1, 0},
		"missing write file":           {"3\n0,0\n1,36\n", [][]byte{data}, 3, 3, 0},
		"only file missing":            {"3\n0,0\n0,120\n", nil, 0, 0, 0},
		"read position in the middle":  {fmt.Sprintf("4\n0,%d\n1,36\n", size), [][]byte{data, behind}, 4, 3, 0},
		"depth too low":                {"1\n0,0\n1,36\n", [][]byte{data, behind}, 1, 4, 0},
		"depth zero":                   {"0\n0,0\n1,36\n", [][]byte{data, behind}, 4, 4, 0},
		"depth negative":               {"-90\n0,0\n1,36\n", [][]byte{data, behind}, 4, 4, 0},
		"depth too high":               {"99\n0,0\n1,36\n", [][]byte{data, behind}, 99, 4, 0},
		"records behind the meta file": {fmt.Sprintf("1\n0,0\n0,%d\n", size), [][]byte{data}, 3, 3, 0},
		"files behind the meta file":   {fmt.Sprintf("1\n0,0\n0,%d\n", size), [][]byte{data, behind}, 4, 4, 0},
		"taken to the end, then more":  {fmt.Sprintf("0\n0,%d\n0,%d\n", size, size), [][]byte{data}, 2, 2, 0},
		"meta file of no length":       {"", [][]byte{data, behind}, 4, 4, 0},
		"meta file cut":                {"4\n0,0\n1,", [][]byte{data, behind}, 4, 4, 0},
		"meta file is garbage":         {"\x00\x00\x00\x00", [][]byte{nil, data, behind}, 4, 4, 0},
		"meta file with swapped files": {"4\n1,0\n0,0\n", [][]byte{data, behind}, 4, 4, 0},
		"meta file with huge numbers":  {"4\n0,0\n9223372036854775807,0\n", [][]byte{data, behind}, 4, 4, 0},
		"meta file with negative":      {"4\n0,-3\n0,3\n", [][]byte{data}, 3, 3, 0},
		"read position behind write":   {"4\n0,100\n0,3\n", [][]byte{data}, 3, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "t.diskqueue.meta.dat", []byte(c.meta))
			for i, f := range c.files {
				if f != nil {
					write(t, dir, fmt.Sprintf("t.diskqueue.%06d.dat", i), f)
				}
			}
			q := mustOpen(t, "t", testOptions(dir))
			if q.Depth() != c.depth {
				t.Errorf("Depth = %d at first, want %d", q.Depth(), c.depth)
			}
			if ids := takeIDs(t, q, 100); len(ids) != c.want || q.Lost() != int64(c.lost) || q.Depth() != 0 {
				t.Errorf("took %v, lost %d, depth %d; want %d, %d, 0", ids, q.Lost(), q.Depth(), c.want, c.lost)
			}
			mustPut(t, q, 10, 20, "after the damage")
			if q.Depth() != 10 {
				t.Errorf("Depth = %d after ten more", q.Depth())
			}
			wantIDs(t, q, 10, 20)
			// A restart of us or of an nsqd finds a sound and empty queue.
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			if e, err := parseExtent(read(t, dir, "t.diskqueue.meta.dat")); err != nil || e.depth != 0 || e.read != e.write {
				t.Errorf("meta file afterwards: %+v, %v", e, err)
			}
		})
	}
}

// FuzzDataFile gives a queue any bytes as a data file: it must deliver exactly the records in front of the first damage, and
// go on with what is put afterwards.
func FuzzDataFile(f *testing.F) {
	data, _ := three(f)
	f.Add(data)
	f.Add(data[:70])
	f.Add(append([]byte{0, 0, 0, 0}, data...))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		write(t, dir, "t.diskqueue.000000.dat", data)
		q := mustOpen(t, "t", testOptions(dir))
		var want [][]byte
		for rest := data; len(rest) >= 4; {
			n := int(int32(binary.BigEndian.Uint32(rest)))
			if n < RecordHeaderSize || n > RecordHeaderSize+testMaxBody || n > len(rest)-4 {
				break
			}
			if r := rest[4 : 4+n]; isRecord(r) {
				want = append(want, r)
			}
			rest = rest[4+n:]
		}
		var got [][]byte
		if _, err := q.Take(1<<20, 0, func(b []byte) { got = append(got, b) }); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.Join(got, []byte{'|'}), bytes.Join(want, []byte{'|'})) || q.Depth() != 0 {
			t.Fatalf("took %d records, want %d, depth %d", len(got), len(want), q.Depth())
		}
		mustPut(t, q, 1, 3, "after")
		wantIDs(t, q, 1, 3)
	})
}

// FuzzMetaFile gives a queue any bytes as a meta file: all three records of its data file come, or those behind a read
// position that is possible.
func FuzzMetaFile(f *testing.F) {
	f.Add([]byte("3\n0,0\n0,120\n"))
	f.Add([]byte("3\n0,40\n0,120\n"))
	f.Add([]byte("-1\n1,1\n2,2\n"))
	f.Fuzz(func(t *testing.T, meta []byte) {
		if e, err := parseExtent(meta); err == nil && e.write.file-e.read.file > 10 {
			t.Skip("each missing file costs go-diskqueue a sync")
		}
		dir := t.TempDir()
		data, _ := three(t)
		write(t, dir, "t.diskqueue.000000.dat", data)
		write(t, dir, "t.diskqueue.meta.dat", meta)
		q := mustOpen(t, "t", testOptions(dir))
		if e, err := parseExtent(meta); err != nil || e.read == (place{}) {
			wantIDs(t, q, 0, 3)
		} else if ids := takeIDs(t, q, 100); len(ids) > 3 {
			t.Fatalf("took %v", ids)
		}
		mustPut(t, q, 1, 3, "after")
		wantIDs(t, q, 1, 3)
	})
}

func isRecord(b []byte) bool {
	_, err := ParseRecord(b)
	return err == nil
}
