package vfs

import "sync/atomic"

// Meter counts what is read of files, for who waits for that. The zero value is ready; its methods are safe for concurrent use.
type Meter struct {
	bytes atomic.Int64
	name  atomic.Pointer[string]
}

// Add counts bytes of a file, or of what is kept in several under one name.
func (m *Meter) Add(name string, bytes int) {
	m.bytes.Add(int64(bytes))
	m.name.Store(&name)
}

// Read returns how many bytes were read, and of what the last of them; "" when nothing was.
func (m *Meter) Read() (bytes int64, last string) {
	if name := m.name.Load(); name != nil {
		last = *name
	}
	return m.bytes.Load(), last
}

// Over returns a file system whose reads are counted.
func (m *Meter) Over(files FS) FS { return metered{files, m} }

type metered struct {
	FS
	m *Meter
}

func (f metered) Create(name string) (File, error)    { return f.open(name, f.FS.Create) }
func (f metered) Open(name string) (File, error)      { return f.open(name, f.FS.Open) }
func (f metered) OpenWrite(name string) (File, error) { return f.open(name, f.FS.OpenWrite) }

func (f metered) open(name string, open func(string) (File, error)) (File, error) {
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &meteredFile{file, f.m, name}, nil
}

// Is reports whether a name still stands for an open file.
func (f metered) Is(name string, file File) (bool, error) {
	own, ok := file.(*meteredFile)
	if !ok {
		return false, nil
	}
	return f.FS.Is(name, own.File)
}

type meteredFile struct {
	File
	m    *Meter
	name string
}

func (f *meteredFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.m.bytes.Add(int64(n))
	f.m.name.Store(&f.name)
	return n, err
}
