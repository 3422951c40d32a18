package vfs

import "testing"

// A file system whose reads are counted is the one below it in all else.
func TestMeter(t *testing.T) {
	var m Meter
	if n, last := m.Read(); n != 0 || last != "" {
		t.Errorf("before anything: %d, %q", n, last)
	}
	files := m.Over(NewMem())
	if err := files.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Open("d/none"); err == nil {
		t.Error("a file that is not there is opened")
	}
	f, err := files.Create("d/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	if is, err := files.Is("d/a", f); err != nil || !is {
		t.Errorf("its name: %v, %v", is, err)
	}
	for _, open := range []func(string) (File, error){files.Open, files.OpenWrite} {
		f, err := open("d/a")
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := f.ReadAt(make([]byte, 20), 4); n != 6 {
			t.Errorf("%d bytes read", n)
		}
	}
	if n, last := m.Read(); n != 12 || last != "d/a" {
		t.Errorf("%d bytes, the last of %s", n, last)
	}
	m.Add("q", 5)
	if n, last := m.Read(); n != 17 || last != "q" {
		t.Errorf("%d bytes, the last of %s", n, last)
	}
}
