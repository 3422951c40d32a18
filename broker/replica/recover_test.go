package replica

import (
	"errors"
	"fmt"
	"testing"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// What a log says of a group, record by record, and what is made of it: the terms of the entries behind the base,
// which is entry 1 of term 1.
func TestLaterRecordsCount(t *testing.T) {
	vote := func(term, vote, commit uint64) []byte {
		return journal.AppendVote(nil, journal.Vote{Group: simGroup, Term: term, Vote: vote, Commit: commit})
	}
	type r struct {
		kind journal.Kind
		data []byte
	}
	e := func(index, term, prev uint64) r { return r{journal.KindEntry, entryRecord(index, term, prev)} }
	for name, c := range map[string]struct {
		log    []r
		terms  string
		hard   hard
		commit uint64
		passed int
		err    error
	}{
		"in order":                             {[]r{e(2, 1, 1), e(3, 1, 1)}, "[1 1]", hard{term: 1}, 1, 0, nil},
		"a vote":                               {[]r{e(2, 1, 1), {journal.KindVote, vote(5, 3, 2)}}, "[1]", hard{5, 3}, 2, 0, nil},
		"an entry replaced with all behind it": {[]r{e(2, 1, 1), e(3, 1, 1), e(4, 1, 1), e(3, 2, 1)}, "[1 2]", hard{term: 2}, 1, 0, nil},
		"the same once more":                   {[]r{e(2, 1, 1), e(3, 1, 1), e(2, 1, 1), e(3, 1, 1)}, "[1 1]", hard{term: 1}, 1, 0, nil},
		"a gap":                                {[]r{e(2, 1, 1), e(4, 1, 1)}, "[1]", hard{term: 1}, 1, 1, nil},
		"the one that replaced an entry is lost, and the one behind it is not": {[]r{e(2, 1, 1), e(3, 1, 1), e(4, 2, 2)}, "[1 1]", hard{term: 1}, 1, 1, nil},
		"a term that only an entry says":                                       {[]r{{journal.KindVote, vote(1, 2, 1)}, e(2, 4, 1)}, "[4]", hard{term: 4}, 1, 0, nil},
		"what was before the base":                                             {[]r{e(1, 1, 1), e(2, 1, 1)}, "[1]", hard{term: 1}, 1, 0, nil},
		"a base of this generation":                                            {[]r{e(2, 1, 1), {journal.KindBase, base(1)}, e(2, 3, 1)}, "[3]", hard{term: 3}, 1, 0, nil},
		"a base of another one":                                                {[]r{e(2, 1, 1), {journal.KindBase, base(2)}, e(3, 1, 1)}, "[1 1]", hard{term: 1}, 1, 0, nil},
		"a commit that is lost":                                                {[]r{e(2, 1, 1), {journal.KindVote, vote(1, 0, 3)}}, "[]", hard{term: 1}, 1, 0, ErrForgetful},
		"gone":                                                                 {[]r{e(2, 1, 1), {journal.KindGone, journal.AppendGone(nil, journal.Gone{Group: simGroup, Replica: 1})}}, "[1]", hard{term: 1}, 1, 0, ErrRemoved},
		"another one is gone":                                                  {[]r{e(2, 1, 1), {journal.KindGone, journal.AppendGone(nil, journal.Gone{Group: simGroup, Replica: 2})}}, "[1]", hard{term: 1}, 1, 0, nil},
	} {
		var rec Recovery
		for i, r := range c.log {
			fatal(t, rec.Replay(record(int64(100+i), r.kind, r.data)))
		}
		at := Point{Index: 1, Term: 1}
		h := rec.History(Start{Group: simGroup, Replica: 1, Generation: 1, Applied: at, Back: at}, wal.Synced, &wal.Report{})
		terms := []uint64{}
		for _, r := range h.table {
			terms = append(terms, r.term)
		}
		if got := fmt.Sprint(terms); got != c.terms || h.hard != c.hard || h.commit != c.commit || h.Passed != c.passed || !errors.Is(h.Check(), c.err) {
			t.Errorf("%s: terms %s, %+v, commit %d, passed %d, %v", name, got, h.hard, h.commit, h.Passed, h.Check())
		}
	}
}

func base(generation uint64) []byte {
	return journal.AppendBase(nil, journal.Base{Group: simGroup, Generation: generation, Index: 1, Term: 1, Members: journal.Members{Voters: []uint64{1}}})
}

// A record of a group that cannot be read stops the start; those of others are passed over.
func TestReplayRefusesWhatCannotBe(t *testing.T) {
	var r Recovery
	for _, kind := range []journal.Kind{journal.KindEntry, journal.KindVote, journal.KindBase, journal.KindGone} {
		if err := r.Replay(record(1, kind, []byte("x"))); !errors.Is(err, journal.ErrRecord) {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
	fatal(t, r.Replay(record(1, journal.KindPublish, []byte("x"))))
	if len(r.groups) != 0 {
		t.Errorf("%d groups", len(r.groups))
	}
}

// What makes a replica forgetful, and what does not.
func TestForgetful(t *testing.T) {
	at := Point{Index: 1, Term: 1}
	damaged := &wal.Report{Damage: []wal.Damage{{At: wal.Offset{File: 3, Offset: 64}}}}
	for name, c := range map[string]struct {
		start  Start
		level  wal.Level
		report *wal.Report
		want   bool
	}{
		"nothing":                          {Start{}, wal.Synced, &wal.Report{}, false},
		"a power cut at fsync":             {Start{Crashed: true}, wal.Synced, &wal.Report{}, false},
		"a power cut at disk":              {Start{Crashed: true}, wal.Written, &wal.Report{}, true},
		"an old copy":                      {Start{OldCopy: true}, wal.Synced, &wal.Report{}, true},
		"an earlier start":                 {Start{Forgetful: "so"}, wal.Synced, &wal.Report{}, true},
		"a piece that is missing":          {Start{Missing: true}, wal.Synced, &wal.Report{}, true},
		"damage":                           {Start{}, wal.Synced, damaged, true},
		"damage before what it needs":      {Start{From: wal.Offset{File: 4}}, wal.Synced, damaged, false},
		"what a power cut left at the end": {Start{}, wal.Synced, &wal.Report{Damage: []wal.Damage{{Unsynced: true}}}, false},
	} {
		c.start.Applied, c.start.Back = at, at
		err := (&Recovery{}).History(c.start, c.level, c.report).Check()
		if errors.Is(err, ErrForgetful) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Rejoining takes another id and a later generation, or is refused.
func TestRejoinIsRefusedUnderAnOldName(t *testing.T) {
	log, _, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "/log", FileSize: 256 << 10}, func(wal.Entry) error { return nil })
	fatal(t, err)
	defer log.Close()
	at := Point{Index: 1, Term: 1, Members: journal.Members{Voters: []uint64{1}}}
	start := Start{Group: simGroup, Replica: 4, Generation: 2, Applied: at, Back: at}
	well := (&Recovery{}).History(start, wal.Synced, &wal.Report{})
	start.OldCopy = true
	h := (&Recovery{}).History(start, wal.Synced, &wal.Report{})
	for name, err := range map[string]error{
		"the same id":               second(h.Rejoin(log, 4, 3)),
		"the same generation":       second(h.Rejoin(log, 5, 2)),
		"who has forgotten nothing": second(well.Rejoin(log, 5, 3)),
	} {
		if err == nil {
			t.Errorf("%s: it rejoins", name)
		}
	}
	s, err := h.Rejoin(log, 5, 3)
	if err != nil || s.Replica != 5 || s.Generation != 3 || s.From == (wal.Offset{}) {
		t.Errorf("%+v, %v", s, err)
	}
}

func second[A, B any](_ A, b B) B { return b }

func TestLives(t *testing.T) {
	l := Lives{}
	var first Life
	first = first.Next(11)
	later := first.Next(12)
	for i, c := range []struct {
		life Life
		news bool
	}{{first, true}, {first, false}, {later, true}, {later, false}} {
		if news, err := l.Meet("a", c.life); news != c.news || err != nil {
			t.Errorf("meeting %d: %v, %v", i, news, err)
		}
	}
	long := later
	for i := range uint64(MaxPast + 1) {
		long = long.Next(100 + i)
	}
	for name, life := range map[string]Life{
		"an earlier start":                           first,
		"a second process":                           first.Next(99),
		"a copy of the first, started again":         first.Next(99).Next(98),
		"and again":                                  first.Next(99).Next(98).Next(97),
		"one that was not met for longer than known": long,
	} {
		var old *OldCopy
		if _, err := l.Meet("a", life); !errors.Is(err, ErrOldCopy) || !errors.As(err, &old) || old.Seen.Starts != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := second(l.Meet("a", later.Next(13).Next(14))); err != nil {
		t.Errorf("two starts later: %v", err)
	}
	_, err := l.Meet("a", first.Next(99))
	var old *OldCopy
	errors.As(err, &old)
	told := first.Next(99).Told(old).Next(50)
	if news, err := l.Meet("a", told); !news || err != nil {
		t.Errorf("a copy that was told so comes back: %v, %v", news, err)
	}
	if _, err := l.Meet("a", later.Next(13).Next(14)); !errors.Is(err, ErrOldCopy) {
		t.Errorf("what it was before: %v", err)
	}
}
