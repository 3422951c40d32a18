package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"brokerd/diskqueue/vfs"
)

// Scan reads what the open log has still, from the oldest record on, as far as it was written when it began, and gives it to f. It holds no lock
// while it reads, and nobody waits for it: a file that is released meanwhile is left out, and its later records with it. What cannot be read is
// passed over. It returns ErrClosed, the error of the context or of f, or that of a disk that cannot be read, which was tried again.
func (l *Log) Scan(ctx context.Context, f func(Entry) error) error {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return ErrClosed
	}
	numbers := make([]uint64, len(l.live))
	for i, file := range l.live {
		numbers[i] = file.number
	}
	end, failed := l.written, append([]failure(nil), l.failures...)
	l.mu.Unlock()
	r := reader{fs: l.o.FS, dir: l.o.Dir}
	for _, number := range numbers {
		if err := ctx.Err(); err != nil {
			return err
		}
		file := readFile{number: number, limit: -1}
		b, _, err := r.load(&file, 1<<62)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, vfs.ErrNotPlain):
			continue
		case err != nil:
			return fmt.Errorf("read the log: %w", err)
		}
		if err := scanFile(&r, number, b, end, failed, f); err != nil {
			return err
		}
	}
	return nil
}

// scanFile gives the records of a file to f that lie before end, and are not of a write that failed.
func scanFile(r *reader, number uint64, b []byte, end Offset, failed []failure, f func(Entry) error) error {
	for off := int64(fileHeaderSize); off < int64(len(b)) && (Offset{number, off}).Before(end); {
		rec, _, whole := parseRecord(b, number, off, &r.sums)
		if !whole {
			if off = r.findRecord(b, number, off+1); off < 0 {
				return nil
			}
			continue
		}
		at := Offset{number, off}
		off += rec.size
		lost := false
		for _, part := range failed {
			lost = lost || !at.Before(part.from) && at.Before(part.to)
		}
		if lost || rec.kind > MaxKind {
			continue
		}
		if err := f(Entry{At: at, Kind: rec.kind, Data: rec.data}); err != nil {
			return err
		}
	}
	return nil
}
