package segment

import (
	"testing"

	"brokerd/diskqueue/vfs"
)

// TestAFileAsAWholeIsWhatIsSure: a file of an earlier life may end in bytes that were never synced: an append that was not finished, or blocks
// that nobody needs. As a whole it has the size that a power cut leaves of it.
func TestAFileAsAWholeIsWhatIsSure(t *testing.T) {
	for _, torn := range []bool{false, true} {
		for _, unneeded := range []bool{false, true} {
			mem := vfs.NewMem()
			s, _, _ := mustOpen(t, Options{FS: mem})
			mustAppend(t, s, 1, 3)
			b := mustAppend(t, s, 4, 3)
			must(t, s.Sync())
			sure := s.Size(b.Ref.File)
			if unneeded {
				mustAppend(t, s, 7, 2)
			}
			must(t, s.Close())
			if torn {
				size, err := mem.Size(s.path(b.Ref.File))
				must(t, err)
				change(t, mem, s.path(b.Ref.File), size, message(9)[:10])
			}
			s, blocks, _ := mustOpen(t, Options{FS: mem})
			if unneeded {
				must(t, s.Drop(blocks[2].Ref))
			}
			if !s.Join(b.Ref.File, 2) || s.Size(b.Ref.File) != sure || s.Bytes() != sure {
				t.Errorf("torn %v, with a block that nobody needs %v: it has %d bytes, want %d", torn, unneeded, s.Size(b.Ref.File), sure)
			}
			must(t, s.Close())
		}
	}
}
