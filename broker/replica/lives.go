package replica

import (
	"errors"
	"fmt"
)

// Life is one start of a node, as its manifest says before any link is opened. Starts and Nonce are not enough to know a
// copy by: one that is started a few times while nobody can be reached gets numbers that nobody has seen yet. So it says
// which starts went before it as well.
type Life struct {
	Lineage uint64   `json:"lineage"`        // how often the folder was told that it is an old copy
	Starts  uint64   `json:"starts"`         // how often it was started, this time included
	Nonce   uint64   `json:"nonce"`          // drawn for this start
	Past    []uint64 `json:"past,omitempty"` // nonces of the starts before it in this lineage, newest first, MaxPast at most
}

// MaxPast is how many starts a node remembers. A peer that has not met it for longer takes it for an old copy, which is safe, and costs it all its
// replicas: a broker that somebody has restart again and again has some hundred starts in a night. All of them go into a Hello.
const MaxPast = 256

// Next returns the life of the next start, with a nonce drawn for it.
func (l Life) Next(nonce uint64) Life {
	past := l.Past
	if l.Starts > 0 {
		past = append([]uint64{l.Nonce}, past...)
	}
	return Life{Lineage: l.Lineage, Starts: l.Starts + 1, Nonce: nonce, Past: past[:min(len(past), MaxPast)]}
}

// Told returns what a folder says of itself from its next start on, once it was told that it is an old copy. It is written
// down with the same replacement of the manifest that says that it is forgetful in all its groups.
func (l Life) Told(old *OldCopy) Life {
	return Life{Lineage: max(l.Lineage, old.Seen.Lineage) + 1}
}

// Lives are the newest lives of other folders that a node has seen, by the folder's id. They are kept, synced before a
// handshake ends: so a copy of a folder from before its last start, or a second process on one, is found before it can
// vote. A copy that was made since its last start says what the next start would, and is not found so: only that it lacks
// what it acknowledged to a leader that still lives is, when that says so. Nor is a
// copy found by peers that none of the later starts has reached.
type Lives map[string]Life

// ErrOldCopy is a folder of which a later start was seen, or another process.
var ErrOldCopy = errors.New("the folder is an old copy, or a second process has one")

// OldCopy is an ErrOldCopy with what was seen of the folder.
type OldCopy struct {
	Folder string
	Says   Life
	Seen   Life
}

func (e *OldCopy) Error() string {
	return fmt.Sprintf("%v: folder %s says that this is its start %d (lineage %d), which does not come after start %d (lineage %d), which was seen",
		ErrOldCopy, e.Folder, e.Says.Starts, e.Says.Lineage, e.Seen.Starts, e.Seen.Lineage)
}

// Unwrap returns ErrOldCopy.
func (e *OldCopy) Unwrap() error { return ErrOldCopy }

// Meet judges what a peer says of itself. news says that Lives has changed and must be kept before the peer is let in. The
// error is an *OldCopy.
func (l Lives) Meet(folder string, life Life) (news bool, err error) {
	seen, known := l[folder]
	if known && !life.follows(seen) {
		return false, &OldCopy{Folder: folder, Says: life, Seen: seen}
	}
	life.Past = nil // what goes before it was judged
	if known && life.Lineage == seen.Lineage && life.Starts == seen.Starts {
		return false, nil
	}
	l[folder] = life
	return true, nil
}

// follows reports whether a life is one that was seen, or comes after it.
func (l Life) follows(seen Life) bool {
	if l.Lineage != seen.Lineage {
		return l.Lineage > seen.Lineage // it was told, and has given up all that it was
	}
	if l.Starts <= seen.Starts {
		return l.Starts == seen.Starts && l.Nonce == seen.Nonce
	}
	back := l.Starts - seen.Starts - 1
	return back < uint64(len(l.Past)) && l.Past[back] == seen.Nonce
}
