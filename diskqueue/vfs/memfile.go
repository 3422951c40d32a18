package vfs

import (
	"io"
	"os"
	"slices"
	"syscall"
)

const (
	sectorSize  = 512 // bytes that a disk writes as one
	pageSectors = 8   // sectors that the system keeps, and writes, together
	maxVersions = 6   // contents of one sector, and sizes of one file, that are remembered between two syncs
)

// memFile is a file's content, and what of it a power cut may bring back. Guarded by its Mem's lock.
type memFile struct {
	data     []byte
	unsynced map[int64][][]byte // by sector: contents it had since the last Sync, oldest, the durable one, first
	clean    map[int64][]byte   // by sector: what is durable of one that the system takes for written and is not, since a sync failed
	sizes    []int64            // sizes it had since the last Sync, the durable one first; empty when unchanged
	last     span               // of the last write that was not synced
	names    int
	opened   int
	locked   bool           // nobody may open it for writing
	broken   map[int64]bool // sectors that cannot be read until they are written to
}

type span struct{ from, to int64 }

// memHandle is an open memFile.
type memHandle struct {
	m      *Mem
	f      *memFile
	name   string
	write  bool
	closed bool // guarded by m.mu
}

// lock begins an operation; unlock must follow if it returns nil.
func (h *memHandle) lock(op string, write bool) error {
	h.m.mu.Lock()
	err := error(nil)
	switch {
	case h.closed:
		err = os.ErrClosed
	case write && !h.write:
		err = syscall.EBADF
	default:
		return nil
	}
	h.m.mu.Unlock()
	return pathError(op, h.name, err)
}

func (h *memHandle) unlock() { h.m.mu.Unlock() }

func (h *memHandle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.lock("read", false); err != nil {
		return 0, err
	}
	defer h.unlock()
	if off < 0 {
		return 0, pathError("read", h.name, syscall.EINVAL)
	}
	if off >= int64(len(h.f.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, h.f.data[off:])
	if good := h.f.readable(off, off+int64(n)); good < int64(n) {
		return int(good), pathError("read", h.name, syscall.EIO)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readable returns how many of the bytes from off to end can be read.
func (f *memFile) readable(off, end int64) int64 {
	for s := off / sectorSize; len(f.broken) > 0 && s*sectorSize < end; s++ {
		if f.broken[s] {
			return max(0, s*sectorSize-off)
		}
	}
	return end - off
}

func (h *memHandle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.lock("write", true); err != nil {
		return 0, err
	}
	defer h.unlock()
	if off < 0 {
		return 0, pathError("write", h.name, syscall.EINVAL)
	}
	if len(p) == 0 {
		return 0, nil
	}
	f, end := h.f, off+int64(len(p))
	size := int64(len(f.data))
	if end > size {
		// A full disk takes what fits, as real ones do.
		end = max(min(end, size), size+h.m.roomLocked(end-size))
		if end <= off {
			return 0, pathError("write", h.name, syscall.ENOSPC)
		}
		h.m.used += f.resize(end)
	}
	f.keep(off, end)
	n := copy(f.data[off:end], p)
	f.last = span{off, end}
	if n < len(p) {
		return n, pathError("write", h.name, syscall.ENOSPC)
	}
	return n, nil
}

// keep remembers the content of the sectors that hold the bytes from off to end, before they change.
func (f *memFile) keep(off, end int64) {
	if f.unsynced == nil {
		f.unsynced = make(map[int64][][]byte)
	}
	for s := off / sectorSize; s*sectorSize < end; s++ {
		f.dirtyPage(s)
		delete(f.broken, s)
		content := make([]byte, sectorSize)
		if at := s * sectorSize; at < int64(len(f.data)) {
			copy(content, f.data[at:])
		}
		versions := f.unsynced[s]
		if len(versions) == maxVersions {
			versions = slices.Delete(versions, 1, 2)
		}
		f.unsynced[s] = append(versions, content)
	}
}

// dirtyPage says that the page of a sector is to be written: all of it will be.
func (f *memFile) dirtyPage(s int64) {
	for first, i := s-s%pageSectors, int64(0); i < pageSectors && len(f.clean) > 0; i++ {
		delete(f.clean, first+i)
	}
}

// loseDirty is what Linux does when a sync fails: what was written stays to be read and is not written any more.
func (h *memHandle) loseDirty() {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.f.clean == nil {
		h.f.clean = make(map[int64][]byte)
	}
	for s, versions := range h.f.unsynced {
		if h.f.clean[s] == nil {
			h.f.clean[s] = versions[0]
		}
	}
}

// resize sets the size and returns by how much it grew.
func (f *memFile) resize(size int64) int64 {
	old := int64(len(f.data))
	if size == old {
		return 0
	}
	if len(f.sizes) == maxVersions {
		f.sizes = slices.Delete(f.sizes, 1, 2)
	}
	f.sizes = append(f.sizes, old)
	if size < old {
		f.keep(size, old)
		f.data = f.data[:size]
		return size - old
	}
	f.data = slices.Grow(f.data, int(size-old))[:size]
	clear(f.data[old:])
	return size - old
}

func (h *memHandle) Size() (int64, error) {
	if err := h.lock("stat", false); err != nil {
		return 0, err
	}
	defer h.unlock()
	return int64(len(h.f.data)), nil
}

func (h *memHandle) Sync() error {
	if err := h.lock("sync", false); err != nil {
		return err
	}
	defer h.unlock()
	h.f.unsynced, h.f.sizes, h.f.last = nil, nil, span{}
	for s, durable := range h.f.clean {
		if h.f.unsynced == nil {
			h.f.unsynced = make(map[int64][][]byte)
		}
		h.f.unsynced[s] = [][]byte{durable}
	}
	return nil
}

// WriteOut promises nothing, and so does nothing.
func (h *memHandle) WriteOut(_, _ int64) error {
	if err := h.lock("write out", false); err != nil {
		return err
	}
	h.unlock()
	return nil
}

func (h *memHandle) Links() (int, error) {
	if err := h.lock("stat", false); err != nil {
		return 0, err
	}
	defer h.unlock()
	return h.f.names, nil
}

func (h *memHandle) Forget() error {
	if err := h.lock("forget", false); err != nil {
		return err
	}
	defer h.unlock()
	return nil
}

func (h *memHandle) Truncate(size int64) error {
	if err := h.lock("truncate", true); err != nil {
		return err
	}
	defer h.unlock()
	if size < 0 {
		return pathError("truncate", h.name, syscall.EINVAL)
	}
	return h.resizeLocked("truncate", size)
}

func (h *memHandle) Preallocate(size int64) error {
	if err := h.lock("allocate", true); err != nil {
		return err
	}
	defer h.unlock()
	if size <= 0 {
		return pathError("allocate", h.name, syscall.EINVAL)
	}
	return h.resizeLocked("allocate", max(size, int64(len(h.f.data))))
}

func (h *memHandle) resizeLocked(op string, size int64) error {
	if more := size - int64(len(h.f.data)); more > 0 && h.m.roomLocked(more) < more {
		return pathError(op, h.name, syscall.ENOSPC)
	}
	h.m.used += h.f.resize(size)
	return nil
}

func (h *memHandle) Close() error {
	if err := h.lock("close", false); err != nil {
		return err
	}
	defer h.unlock()
	h.closed = true
	h.f.opened--
	h.m.forgetLocked(h.f)
	return nil
}
