package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// ErrIncomplete is a folder of which a piece is not there that belongs to it.
var ErrIncomplete = errors.New("the data folder is not whole")

// Incomplete says what is missing. It is an ErrIncomplete.
type Incomplete struct {
	Dir     string
	Missing []string // pieces, and what would be lost without them, for people
}

func (e *Incomplete) Error() string {
	return fmt.Sprintf("%v: %s. Nothing was changed. Put back what is missing; or give it up: `brokerd repair %s --accept-loss` goes on "+
		"without it and says what that costs", ErrIncomplete, strings.Join(e.Missing, "; "), e.Dir)
}

// Unwrap returns ErrIncomplete.
func (e *Incomplete) Unwrap() error { return ErrIncomplete }

// sight is what a look at a folder has found. Nothing is changed by it.
type sight struct {
	files vfs.FS
	dir   string
	loss  bool // it is accepted

	m          manifest.Manifest
	state      *journal.State // of the checkpoint that is used, an empty one without
	checkpoint string         // its name; empty: there is none
	from       wal.Offset     // the log from here on belongs to it
	whole      bool           // there never was one: the log is needed from its beginning
	damaged    []string       // checkpoints that are not what they were, though nothing is lost by it; for people
	bad        []string       // paths of those
	missing    []string       // what a start refuses for
}

// lookAt reads the manifest and the newest checkpoint that can be read. It fails with ErrVersion, or with what the file system says;
// what is missing is noted. With thorough it looks at the beginning of files, too, that a checkpoint has as a whole.
func lookAt(files vfs.FS, dir string, acceptLoss, thorough bool) (*sight, error) {
	s := &sight{files: files, dir: dir, loss: acceptLoss, state: journal.NewState()}
	m, found, err := manifest.Read(files, dir)
	if errors.Is(err, manifest.ErrVersion) {
		return nil, fmt.Errorf("%w: %w", ErrVersion, err)
	}
	strange := errors.Is(err, vfs.ErrNotPlain)
	if err != nil && !strange && !errors.Is(err, manifest.ErrDamaged) && !acceptLoss {
		return nil, err
	}
	v, versionErr := lookAtVersions(files, dir, acceptLoss)
	if versionErr = errors.Join(versionErr, v.check()); versionErr != nil {
		return nil, versionErr
	}
	var named, needs error
	known := (*journal.State)(nil)
	if err == nil && found && len(v.strange) == 0 {
		if needs = checkNeeds(&m); needs == nil {
			s.m = m
			if named = s.namedCheckpoint(); !thorough {
				known = s.state
			}
		}
	}
	versionErr = v.lookAtSegments(files, dir, known)
	if versionErr = errors.Join(versionErr, v.check()); versionErr != nil {
		return nil, versionErr
	}
	if strange {
		v.strange = append(v.strange, stranger{filepath.Join(dir, manifest.FileName), vfs.ErrNotPlain})
	}
	if len(v.strange) > 0 {
		return nil, newStrangers(dir, v.strange)
	}
	switch {
	case err != nil:
		s.lack("%v", err)
		named = s.withoutManifest()
	case !found && v.files > 0:
		s.lack("%s is missing, which says what belongs to the folder", filepath.Join(dir, manifest.FileName))
		named = s.withoutManifest()
	case !found:
		s.m.Folder, s.m.Log.Limit, s.whole = manifest.NewID(), 1, true
	}
	for _, name := range v.unread {
		if filepath.Dir(name) == dir && !s.names(name) { // also of those that count without a manifest: one may be readable by now
			s.bad = append(s.bad, name) // else the next start would wait for the disk to give it back
		}
	}
	return s, errors.Join(needs, named)
}

// names reports whether the manifest names a checkpoint, or what makes up for a manifest.
func (s *sight) names(checkpoint string) bool {
	return slices.ContainsFunc(s.m.Checkpoints, func(c manifest.Checkpoint) bool { return checkpointName(s.dir, c.Number) == checkpoint })
}

func (s *sight) lack(format string, args ...any) {
	s.missing = append(s.missing, fmt.Sprintf(format, args...))
}

// namedCheckpoint reads the newest checkpoint of the manifest that can be read.
func (s *sight) namedCheckpoint() error {
	s.whole = len(s.m.Checkpoints) == 0
	var gone []string
	for _, c := range s.m.Checkpoints {
		name := checkpointName(s.dir, c.Number)
		state, err := readCheckpoint(s.files, s.dir, s.m.Folder.Short(), c)
		switch {
		case err == nil:
			s.use(name, state, c.From)
			s.damaged = append(s.damaged, gone...)
			return nil
		case errors.Is(err, journal.ErrCheckpoint):
			s.bad = append(s.bad, name)
			gone = append(gone, fmt.Sprintf("%s is damaged (%v)", name, err))
		case errors.Is(err, fs.ErrNotExist):
			gone = append(gone, name+" is missing")
		case s.loss:
			s.bad = append(s.bad, name)
			gone = append(gone, fmt.Sprintf("%s cannot be read (%v)", name, err))
		default:
			return err
		}
	}
	if len(gone) > 0 {
		s.lack("%s: no checkpoint is left, so that nothing is known of what came before file %d of the log, but for what segments say",
			strings.Join(gone, ", "), s.m.Checkpoints[len(s.m.Checkpoints)-1].From.File)
	}
	return nil
}

// use takes a checkpoint for the one that a start goes on from.
func (s *sight) use(name string, state *journal.State, from manifest.Offset) {
	s.checkpoint, s.state = filepath.Base(name), state
	s.from = from
}

// withoutManifest makes up for a manifest that is not there, as far as that can be, for a repair: the newest checkpoint that can be
// read counts, and the numbers of log files go on far behind those that are there.
func (s *sight) withoutManifest() error {
	names, err := list(s.files, s.dir)
	if err != nil {
		return err
	}
	var numbers []uint64
	for _, name := range names {
		if n, ok := checkpointNumber(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range slices.Backward(numbers) {
		name := checkpointName(s.dir, n)
		id, state, err := salvageCheckpoint(s.files, name)
		if err != nil {
			s.damaged = append(s.damaged, fmt.Sprintf("%s: %v", name, err))
			continue
		}
		copy(s.m.Folder[:], id[:])
		s.use(name, state, state.From)
		s.m.Checkpoints = []manifest.Checkpoint{{Number: n, From: state.From}}
		break
	}
	highest := uint64(0)
	err = eachName(s.files, filepath.Join(s.dir, logFolder), func(name string) error {
		if n, folder, ok := wal.HeaderOf(s.files, filepath.Join(s.dir, logFolder, name)); ok {
			highest = max(highest, n)
			if (s.m.Folder == manifest.ID{}) {
				copy(s.m.Folder[:], folder[:])
			}
		}
		return nil
	})
	s.m.Log.Limit = highest + leaseFiles + 1
	s.m.Needs = journal.FeatureNames() // nothing says which of them the folder uses
	fresh := manifest.NewID()          // the second half is nobody's but the manifest's
	if (s.m.Folder == manifest.ID{}) {
		s.m.Folder = fresh
	}
	copy(s.m.Folder[8:], fresh[8:])
	return err
}

// need is what of the log must be there.
func (s *sight) need() wal.Need {
	from := groupsFrom(&s.m, s.from)
	n := wal.Need{Folder: s.m.Folder.Short(), From: from, Whole: s.whole || s.checkpoint != "" && from == (wal.Offset{}), Seen: s.m.Log.Seen, Limit: s.m.Log.Limit, Gone: s.m.Log.Gone,
		Headless: s.m.Log.Headless, AcceptLoss: s.loss}
	if end := s.m.Log.End; end != nil {
		n.End = end
	}
	return n
}

// refuse returns why a start refuses, with what the log lacks.
func (s *sight) refuse(log []string) error {
	missing := slices.Concat(s.missing, log)
	if len(missing) == 0 || s.loss {
		return nil
	}
	return &Incomplete{Dir: s.dir, Missing: missing}
}
