package topic

import (
	"io"
	"testing"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// TestACheckpointWritesNothingOfATopicThatWasDeletedMeanwhile, whether it had segments before or not: they would stay until the next start, and the
// checkpoint would fail where they are closed.
func TestACheckpointWritesNothingOfATopicThatWasDeletedMeanwhile(t *testing.T) {
	for name, before := range map[string]bool{"without segments": false, "with some": true} {
		t.Run(name, func(t *testing.T) {
			cfg, files := config(), vfs.NewMem()
			cfg.Journal, cfg.Segments, cfg.Level = &keptLog{}, keptSegments{files}, func(string) Level { return Disk }
			r := start(t, cfg)
			topic := mustTopic(t, r, "t")
			mustChannel(t, topic, "c")
			checkpoint := func(then func()) {
				t.Helper()
				sync := func(journal.Offset) error {
					if then != nil {
						then()
						then = nil
					}
					return nil
				}
				if err := r.Cut().Run(io.Discard, sync, func(int64) error { return nil }); err != nil {
					t.Error(err)
				}
			}
			publish(t, topic, 3)
			if before {
				checkpoint(nil)
				publish(t, topic, 3)
			}
			checkpoint(func() {
				if err := r.DeleteTopic("t"); err != nil {
					t.Error(err)
				}
			})
			if names, err := files.List("1"); err == nil || r.OnDisk() != 0 {
				t.Errorf("segments %v are left, %d nodes count as on disk", names, r.OnDisk())
			}
		})
	}
}
