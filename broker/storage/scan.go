package storage

import (
	"context"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/wal"
)

// Scan gives f the records that the log has still, as far as they were written when it began. It waits for the disk, and nobody waits for it.
func (k *Engine) Scan(ctx context.Context, f func(journal.Offset, journal.Kind, []byte) error) error {
	return k.wal.Scan(ctx, func(e wal.Entry) error {
		if journal.Kind(e.Kind) == kindProbe {
			return nil
		}
		return f(e.At, journal.Kind(e.Kind), e.Data)
	})
}
