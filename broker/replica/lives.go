package replica

import (
	"errors"
	"fmt"
)

// Life is one start of a node: how often its folder was started before and with it, which the manifest says before
// any link is opened, and a number drawn for this start.
type Life struct {
	Starts uint64 `json:"starts"`
	Nonce  uint64 `json:"nonce"`
}

// Lives are the newest lives of other folders that a node has seen, by the folder's id. They are kept, synced before
// a handshake ends: so a copy of a folder from before its last start, or a second process on one, is found before it
// can vote. A copy that was made since its last start says the number that the next start would have, and is not
// found so: only that it lacks what it acknowledged to a leader that still lives is, when that says so.
type Lives map[string]Life

// ErrOldCopy is a folder of which a later start was seen, or another process.
var ErrOldCopy = errors.New("the folder is an old copy, or a second process has one")

// OldCopy is an ErrOldCopy with the number of starts that was seen. Who is told so notes, with one replacement of its
// manifest, that it is forgetful in all its groups, and that number as its own: its next start is a later one then,
// and comes back.
type OldCopy struct {
	Folder string
	Starts uint64 // what it says
	Seen   uint64 // what was seen
}

func (e *OldCopy) Error() string {
	return fmt.Sprintf("%v: folder %s says that this is its start %d, and start %d was seen", ErrOldCopy, e.Folder, e.Starts, e.Seen)
}

// Unwrap returns ErrOldCopy.
func (e *OldCopy) Unwrap() error { return ErrOldCopy }

// Meet judges what a peer says of itself. news says that Lives has changed and must be kept before the peer is let
// in. The error is an *OldCopy.
func (l Lives) Meet(folder string, life Life) (news bool, err error) {
	seen, known := l[folder]
	if known && (life.Starts < seen.Starts || life.Starts == seen.Starts && life.Nonce != seen.Nonce) {
		return false, &OldCopy{Folder: folder, Starts: life.Starts, Seen: seen.Starts}
	}
	l[folder] = life
	return !known || life != seen, nil
}
