package journal

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func entryOf(e Entry) []byte { return append(AppendEntry(nil, e), e.Data...) }

func someRecords() []byte {
	var finished Runs
	finished.Begin(1, 2)
	finished.Add(0x400)
	data := AppendFirst(nil, 77)
	data = AppendRecord(data, KindPublish, AppendPublish(nil, Publish{Topic: 1, First: 7, Count: 2}), frames(0x400, 2))
	return AppendRecord(data, KindFinished, finished.Record())
}

func someBase() Base {
	return Base{Group: 5, Generation: 2, Index: 9, Term: 3, Record: 76, Members: Members{Voters: []uint64{1, 2, 3}, Learners: []uint64{7},
		Outgoing: []uint64{1, 2, 4}, LearnersNext: []uint64{4}, AutoLeave: true}}
}

// goldenReplicated is a record of each kind of groups as it is on disk.
func goldenReplicated() []goldenBytes {
	return []goldenBytes{
		{"entry of records", entryOf(Entry{Group: 5, Term: 3, Prev: 2, Index: 10, Type: EntryRecords, Data: someRecords()})},
		{"entry of membership", entryOf(Entry{Group: 5, Term: 3, Prev: 3, Index: 11, Type: EntryMembership, Data: []byte{0x12, 4, 8, 0, 0x10, 7}})},
		{"entry of nothing", entryOf(Entry{Group: 5, Term: 4, Prev: 3, Index: 12, Type: EntryNothing})},
		{"vote", AppendVote(nil, Vote{Group: 5, Term: 4, Vote: 2, Commit: 11})},
		{"base", AppendBase(nil, someBase())},
		{"gone", AppendGone(nil, Gone{Group: 5, Replica: 3})},
		{"publish of an origin", append(AppendPublish(nil, Publish{Topic: 1, First: 7, Count: 1, From: Origin{ID: 0xabcdef, Number: 9, Low: 4}}), frames(0x400, 1)...)},
		{"forgotten", AppendForgotten(nil, []uint64{0xabcdef, 2})},
	}
}

// The bytes of the records of groups are a promise as well.
func TestGoldenReplicated(t *testing.T) { keepsTo(t, "testdata/replicated.txt", goldenReplicated()) }

func TestEntriesComeBack(t *testing.T) {
	for _, want := range []Entry{
		{Group: 5, Term: 3, Prev: 2, Index: 10, Type: EntryRecords, Data: someRecords()},
		{Group: 1 << 31, Term: 1, Index: 1, Type: EntryMembership, Data: []byte{}},
		{Group: 5, Term: 1 << 63, Prev: 1 << 63, Index: 1 << 63, Type: EntryNothing, Data: []byte{}},
	} {
		got, err := ParseEntry(entryOf(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %+v, %v", want, got, err)
		}
	}
	var kinds []Kind
	err := EachRecord(someRecords(), func(n uint64, kind Kind, payload []byte) error {
		if n != 77+uint64(len(kinds)) || len(payload) == 0 {
			t.Errorf("record %d of kind %d, %d bytes", n, kind, len(payload))
		}
		kinds = append(kinds, kind)
		return nil
	})
	if err != nil || !reflect.DeepEqual(kinds, []Kind{KindPublish, KindFinished}) {
		t.Errorf("records %v, %v", kinds, err)
	}
	boom := errors.New("boom")
	if err := EachRecord(someRecords(), func(uint64, Kind, []byte) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("an error of who reads: %v", err)
	}
}

// What cannot be in a log is refused with an error, and what is about groups never passes for something about topics.
func TestRecordsOfGroupsThatCannotBe(t *testing.T) {
	entry := func(e Entry) error { _, err := ParseEntry(entryOf(e)); return err }
	data := someRecords()
	for name, err := range map[string]error{
		"index 0":              entry(Entry{Term: 1, Type: EntryNothing}),
		"term 0":               entry(Entry{Index: 1, Type: EntryNothing}),
		"behind a later term":  entry(Entry{Term: 1, Prev: 2, Index: 2, Type: EntryNothing}),
		"of an unknown type":   entry(Entry{Term: 1, Index: 1, Type: 3}),
		"nothing with bytes":   entry(Entry{Term: 1, Index: 1, Type: EntryNothing, Data: []byte{0}}),
		"no records":           entry(Entry{Term: 1, Index: 1, Data: AppendFirst(nil, 1)}),
		"record number 0":      entry(Entry{Term: 1, Index: 1, Data: AppendRecord(AppendFirst(nil, 0), KindFinished)}),
		"last record number":   entry(Entry{Term: 1, Index: 1, Data: AppendRecord(AppendFirst(nil, ^uint64(0)), KindFinished)}),
		"a vote in an entry":   entry(Entry{Term: 1, Index: 1, Data: AppendRecord(AppendFirst(nil, 1), KindVote)}),
		"a probe in an entry":  entry(Entry{Term: 1, Index: 1, Data: AppendRecord(AppendFirst(nil, 1), 15)}),
		"kind 0 in an entry":   entry(Entry{Term: 1, Index: 1, Data: AppendRecord(AppendFirst(nil, 1), 0)}),
		"kind 240 in an entry": entry(Entry{Term: 1, Index: 1, Data: AppendRecord(AppendFirst(nil, 1), 240)}),
		"cut records":          entry(Entry{Term: 1, Index: 1, Data: data[:len(data)-1]}),
	} {
		if !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, g := range goldenReplicated() {
		for n := range g.data[:min(len(g.data), 28)] {
			_, err := ParseEntry(g.data[:n])
			_, voteErr := ParseVote(g.data[:n])
			_, baseErr := ParseBase(g.data[:n])
			if err == nil || voteErr == nil && n != voteSize || baseErr == nil {
				t.Errorf("%d bytes of %s are a record", n, g.name)
			}
		}
	}
	noVoters := someBase()
	noVoters.Members.Voters = nil
	for _, b := range [][]byte{AppendBase(nil, noVoters), append(AppendBase(nil, someBase()), 0), AppendBase(nil, Base{Members: Members{Voters: []uint64{1}}})} {
		if base, err := ParseBase(b); err == nil {
			t.Errorf("%x is a base: %+v", b, base)
		}
	}
	if _, err := ParseGone(make([]byte, 11)); err == nil {
		t.Error("11 bytes are a Gone record")
	}
}

func TestVotesBasesAndGonesComeBack(t *testing.T) {
	if v, err := ParseVote(AppendVote(nil, Vote{1, 2, 3, 4})); err != nil || v != (Vote{1, 2, 3, 4}) {
		t.Errorf("%+v, %v", v, err)
	}
	if b, err := ParseBase(AppendBase(nil, someBase())); err != nil || !reflect.DeepEqual(b, someBase()) {
		t.Errorf("%+v, %v", b, err)
	}
	if g, err := ParseGone(AppendGone(nil, Gone{1, 2})); err != nil || g != (Gone{1, 2}) {
		t.Errorf("%+v, %v", g, err)
	}
}

// Whatever the bytes are, a record of a group that is taken is written as it was read.
func FuzzReplicated(f *testing.F) {
	for i, g := range goldenReplicated() {
		f.Add(byte(max(0, i-2)), g.data)
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		var again []byte
		var err error
		switch which % 4 {
		case 0:
			var e Entry
			if e, err = ParseEntry(b); err == nil {
				again = entryOf(e)
			}
			if err == nil && e.Type == EntryRecords {
				first, count, _ := Records(e.Data)
				data := AppendFirst(nil, first)
				if err := EachRecord(e.Data, func(n uint64, kind Kind, payload []byte) error {
					count--
					data = AppendRecord(data, kind, payload)
					return nil
				}); err != nil || count != 0 {
					t.Fatalf("%d records are left over, %v", count, err)
				}
				if len(data) > len(e.Data) { // a length may be written longer than it must
					t.Fatalf("records of %d bytes are %d", len(e.Data), len(data))
				}
			}
		case 1:
			var v Vote
			if v, err = ParseVote(b); err == nil {
				again = AppendVote(nil, v)
			}
		case 2:
			var base Base
			if base, err = ParseBase(b); err == nil {
				again = AppendBase(nil, base)
			}
		case 3:
			var g Gone
			if g, err = ParseGone(b); err == nil {
				again = AppendGone(nil, g)
			}
		}
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%x was read as %x", b, again)
		}
	})
}
