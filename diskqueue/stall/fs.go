package stall

import "brokerd/diskqueue/vfs"

// FS returns a file system whose calls the Watch knows, as such that no publish waits for.
func (w *Watch) FS(files vfs.FS) vfs.FS {
	if w == nil {
		return files
	}
	return watched{files, w}
}

type watched struct {
	files vfs.FS
	w     *Watch
}

func (f watched) Create(name string) (vfs.File, error) {
	return f.open("create", name, f.files.Create)
}

func (f watched) Open(name string) (vfs.File, error) { return f.open("open", name, f.files.Open) }

func (f watched) OpenWrite(name string) (vfs.File, error) {
	return f.open("open", name, f.files.OpenWrite)
}

func (f watched) open(what, name string, open func(string) (vfs.File, error)) (vfs.File, error) {
	defer f.w.Call(what, name).Done()
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &watchedFile{file, f.w, name}, nil
}

func (f watched) Remove(name string) error {
	defer f.w.Call("remove", name).Done()
	return f.files.Remove(name)
}

func (f watched) Rename(from, to string) error {
	defer f.w.Call("rename", from).Done()
	return f.files.Rename(from, to)
}

func (f watched) Link(from, to string) error {
	defer f.w.Call("link", from).Done()
	return f.files.Link(from, to)
}

func (f watched) MkdirAll(dir string) error {
	defer f.w.Call("make", dir).Done()
	return f.files.MkdirAll(dir)
}

func (f watched) List(dir string) ([]string, error) {
	defer f.w.Call("list", dir).Done()
	return f.files.List(dir)
}

func (f watched) Size(name string) (int64, error) {
	defer f.w.Call("look at", name).Done()
	return f.files.Size(name)
}

func (f watched) Is(name string, file vfs.File) (bool, error) {
	defer f.w.Call("look at", name).Done()
	if own, ok := file.(*watchedFile); ok {
		file = own.file
	}
	return f.files.Is(name, file)
}

func (f watched) SyncDir(dir string) error {
	defer f.w.Call("sync", dir).Done()
	return f.files.SyncDir(dir)
}

func (f watched) Free(dir string) (vfs.Space, error) {
	defer f.w.Call("ask for the space of", dir).Done()
	return f.files.Free(dir)
}

// watchedFile is an open file.
type watchedFile struct {
	file vfs.File
	w    *Watch
	name string
}

func (f *watchedFile) ReadAt(p []byte, off int64) (int, error) {
	defer f.w.Call("read", f.name).Done()
	return f.file.ReadAt(p, off)
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	defer f.w.Call("write", f.name).Done()
	return f.file.WriteAt(p, off)
}

func (f *watchedFile) Size() (int64, error) {
	defer f.w.Call("look at", f.name).Done()
	return f.file.Size()
}

func (f *watchedFile) Sync() error {
	defer f.w.Call("sync", f.name).Done()
	return f.file.Sync()
}

func (f *watchedFile) WriteOut(off, n int64) error {
	defer f.w.Call("write out", f.name).Done()
	return f.file.WriteOut(off, n)
}

func (f *watchedFile) Links() (int, error) {
	defer f.w.Call("look at", f.name).Done()
	return f.file.Links()
}

func (f *watchedFile) Truncate(size int64) error {
	defer f.w.Call("truncate", f.name).Done()
	return f.file.Truncate(size)
}

func (f *watchedFile) Preallocate(size int64) error {
	defer f.w.Call("allocate", f.name).Done()
	return f.file.Preallocate(size)
}

func (f *watchedFile) Forget() error {
	defer f.w.Call("forget", f.name).Done()
	return f.file.Forget()
}

func (f *watchedFile) Close() error {
	defer f.w.Call("close", f.name).Done()
	return f.file.Close()
}
