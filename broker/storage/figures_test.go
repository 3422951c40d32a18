package storage

import (
	"errors"
	"testing"
	"time"
)

// TestCompactionIsCounted: rounds that wrote something, rounds that failed, and what all of them read; a round that found nothing to do only
// counts what it read.
func TestCompactionIsCounted(t *testing.T) {
	var k Engine
	k.tally.compacted(100, time.Second, true, nil)
	k.tally.compacted(10, time.Second, false, nil)
	k.tally.compacted(1, time.Second, false, errors.New("the disk has failed"))
	if f := k.tally.f; f.Compactions != 1 || f.CompactionsFailed != 1 || f.Compacted != 111 || f.CompactionTook != 3*time.Second {
		t.Errorf("%+v", f)
	}
}
