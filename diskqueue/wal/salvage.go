package wal

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// span is bytes of a file.
type span struct{ from, to int64 }

// salvage reads what can be read of a file, page by page.
func (r *reader) salvage(f *readFile, most int64) (b []byte, unreadable, err error) {
	file, err := r.fs.Open(fileName(r.dir, f.number, extLive))
	if err != nil {
		return nil, nil, fmt.Errorf("read the log: %w", err)
	}
	defer file.Close() // read only
	if f.size, err = file.Size(); err != nil {
		return nil, nil, fmt.Errorf("read the log: %w", err)
	}
	n := int(min(f.size, most))
	r.buf = slices.Grow(r.buf[:0], n)[:n]
	const page = 4096
	for off := 0; off < n; off += page {
		p := r.buf[off:min(off+page, n)]
		if _, pageErr := file.ReadAt(p, int64(off)); pageErr != nil && !errors.Is(pageErr, io.EOF) {
			clear(p)
			if unreadable == nil {
				f.unread.from = int64(off)
			}
			unreadable, f.unread.to = pageErr, int64(off+len(p))
		}
	}
	return r.buf, unreadable, nil
}
