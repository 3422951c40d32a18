package journal

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The kinds of groups of replicas. They are about a group as such and never stand within an entry.
const (
	KindEntry Kind = 16
	KindVote  Kind = 17
	KindBase  Kind = 18
	KindGone  Kind = 19
)

// KindMap is a command of the map of a cluster. It stands within entries of the map's own group, and nowhere else.
const KindMap Kind = 20

// OfGroups reports whether records of a kind are about a group of replicas as such.
func OfGroups(kind Kind) bool { return kind >= KindEntry && kind <= KindGone }

// EntryType is what an entry of a group's log is. The values are on disk.
type EntryType uint8

// The types of entries.
const (
	EntryRecords    EntryType = 0 // records of topics, see Records
	EntryMembership EntryType = 1 // a change of the group's members, as the engine encodes it
	EntryNothing    EntryType = 2 // nothing: the first entry of a new leader
)

// Entry is an entry of a group's log. Prev is the term of the entry before it: what is read of a log after a power
// cut may lack an entry that had replaced another one, and only this tells that the one behind it does not belong
// there.
type Entry struct {
	Group uint32
	Term  uint64
	Prev  uint64 // the term of the entry before it
	Index uint64
	Type  EntryType
	Data  []byte // by type: records with the number of the first before them; the change; nothing
}

// entrySize is the size in bytes of an entry's head.
const entrySize = 4 + 8 + 8 + 8 + 1

// AppendEntry appends the head of an entry; its Data follows it.
func AppendEntry(dst []byte, e Entry) []byte {
	dst = binary.BigEndian.AppendUint32(dst, e.Group)
	dst = binary.BigEndian.AppendUint64(dst, e.Term)
	dst = binary.BigEndian.AppendUint64(dst, e.Prev)
	dst = binary.BigEndian.AppendUint64(dst, e.Index)
	return append(dst, byte(e.Type))
}

// ParseEntry returns an entry, a view of the record. It checks all but what the records in it say.
func ParseEntry(b []byte) (e Entry, err error) {
	if len(b) < entrySize {
		return e, fmt.Errorf("%w: entry of %d bytes", ErrRecord, len(b))
	}
	e = Entry{Group: binary.BigEndian.Uint32(b), Term: binary.BigEndian.Uint64(b[4:]), Prev: binary.BigEndian.Uint64(b[12:]),
		Index: binary.BigEndian.Uint64(b[20:]), Type: EntryType(b[28]), Data: b[entrySize:]}
	switch {
	case e.Index == 0 || e.Term == 0 || e.Prev > e.Term:
		return e, fmt.Errorf("%w: entry %d of term %d behind one of term %d", ErrRecord, e.Index, e.Term, e.Prev)
	case e.Type == EntryRecords:
		_, _, err = Records(e.Data)
	case e.Type == EntryMembership:
	case e.Type == EntryNothing && len(e.Data) == 0:
	default:
		err = fmt.Errorf("%w: entry of type %d with %d bytes", ErrRecord, e.Type, len(e.Data))
	}
	return e, err
}

// AppendFirst begins the Data of an entry of records: the number of its first record. Records of a group are counted
// from 1.
func AppendFirst(dst []byte, first uint64) []byte { return binary.BigEndian.AppendUint64(dst, first) }

// firstSize is the size in bytes of what AppendFirst appends.
const firstSize = 8

// AppendRecord appends a record to the Data of an entry, its payload in parts.
func AppendRecord(dst []byte, kind Kind, payload ...[]byte) []byte {
	n := 0
	for _, p := range payload {
		n += len(p)
	}
	dst = append(dst, byte(kind))
	dst = binary.AppendUvarint(dst, uint64(n))
	for _, p := range payload {
		dst = append(dst, p...)
	}
	return dst
}

// Replicable reports whether records of a kind may stand in an entry: those about topics, or the map.
func Replicable(kind Kind) bool {
	return kind >= KindPublish && kind < 15 || kind > KindGone && kind < 240
}

// Records returns the number of the first record in the Data of an entry, and how many there are, one or more. It
// checks that they are whole.
func Records(data []byte) (first uint64, count int, err error) {
	if len(data) < firstSize {
		return 0, 0, fmt.Errorf("%w: entry without the number of its first record", ErrRecord)
	}
	first = binary.BigEndian.Uint64(data)
	for rest := data[firstSize:]; len(rest) > 0; count++ {
		if _, _, rest, err = nextRecord(rest); err != nil {
			return 0, 0, err
		}
	}
	if count == 0 || first == 0 || first > math.MaxUint64-uint64(count) {
		return 0, 0, fmt.Errorf("%w: entry of %d records from number %d on", ErrRecord, count, first)
	}
	return first, count, nil
}

// EachRecord calls f with every record of the Data of an entry, which Records has found whole: its number, kind and
// payload, a view.
func EachRecord(data []byte, f func(number uint64, kind Kind, payload []byte) error) error {
	first, _, err := Records(data)
	if err != nil {
		return err
	}
	for rest := data[firstSize:]; len(rest) > 0; first++ {
		kind, payload, left, err := nextRecord(rest)
		if err != nil {
			return err
		}
		if err := f(first, kind, payload); err != nil {
			return err
		}
		rest = left
	}
	return nil
}

// nextRecord returns the record that b begins with, and what is behind it.
func nextRecord(b []byte) (kind Kind, payload, rest []byte, err error) {
	kind = Kind(b[0])
	n, k := binary.Uvarint(b[1:])
	if k <= 0 || n > uint64(len(b)-1-k) || !Replicable(kind) {
		return 0, nil, nil, fmt.Errorf("%w: record of kind %d in an entry", ErrRecord, kind)
	}
	b = b[1+k:]
	return kind, b[:n:n], b[n:], nil
}

// Vote is what a replica must not forget: the newest term that it knows, and for whom it voted in it. Commit is an
// index up to which entries are committed and safe here; there may be more.
type Vote struct {
	Group  uint32
	Term   uint64
	Vote   uint64 // a replica's id, 0 for nobody
	Commit uint64
}

// voteSize is the size in bytes of a Vote record.
const voteSize = 4 + 8 + 8 + 8

// AppendVote appends a Vote record.
func AppendVote(dst []byte, v Vote) []byte {
	dst = binary.BigEndian.AppendUint32(dst, v.Group)
	dst = binary.BigEndian.AppendUint64(dst, v.Term)
	dst = binary.BigEndian.AppendUint64(dst, v.Vote)
	return binary.BigEndian.AppendUint64(dst, v.Commit)
}

// ParseVote parses a Vote record.
func ParseVote(b []byte) (v Vote, err error) {
	if len(b) != voteSize {
		return v, fmt.Errorf("%w: vote of %d bytes", ErrRecord, len(b))
	}
	return Vote{Group: binary.BigEndian.Uint32(b), Term: binary.BigEndian.Uint64(b[4:]), Vote: binary.BigEndian.Uint64(b[12:]),
		Commit: binary.BigEndian.Uint64(b[20:])}, nil
}

// Members are the replicas of a group by their ids. While one set of voters replaces another both decide together,
// Outgoing being the old one.
type Members struct {
	Voters       []uint64 `json:"voters"`
	Learners     []uint64 `json:"learners,omitempty"`
	Outgoing     []uint64 `json:"outgoing,omitempty"`
	LearnersNext []uint64 `json:"learners_next,omitempty"` // of Outgoing: those that will be learners
	AutoLeave    bool     `json:"auto_leave,omitempty"`    // the leader ends it by itself
}

// Base is where a group's log begins on a node: behind this index. It counts if the manifest names its generation.
type Base struct {
	Group      uint32
	Generation uint64
	Index      uint64
	Term       uint64 // of the entry at Index
	Record     uint64 // the number of the last record up to there
	Members    Members
}

// baseSize is the size in bytes of a Base record without its members.
const baseSize = 4 + 4*8

// AppendBase appends a Base record.
func AppendBase(dst []byte, b Base) []byte {
	dst = binary.BigEndian.AppendUint32(dst, b.Group)
	for _, n := range []uint64{b.Generation, b.Index, b.Term, b.Record} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	for _, ids := range [][]uint64{b.Members.Voters, b.Members.Learners, b.Members.Outgoing, b.Members.LearnersNext} {
		dst = append(dst, byte(len(ids)))
		for _, id := range ids {
			dst = binary.BigEndian.AppendUint64(dst, id)
		}
	}
	if b.Members.AutoLeave {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// ParseBase parses a Base record.
func ParseBase(b []byte) (base Base, err error) {
	if len(b) < baseSize {
		return base, fmt.Errorf("%w: base of %d bytes", ErrRecord, len(b))
	}
	base = Base{Group: binary.BigEndian.Uint32(b), Generation: binary.BigEndian.Uint64(b[4:]), Index: binary.BigEndian.Uint64(b[12:]),
		Term: binary.BigEndian.Uint64(b[20:]), Record: binary.BigEndian.Uint64(b[28:])}
	rest := b[baseSize:]
	for _, list := range []*[]uint64{&base.Members.Voters, &base.Members.Learners, &base.Members.Outgoing, &base.Members.LearnersNext} {
		if len(rest) == 0 || len(rest)-1 < 8*int(rest[0]) {
			return Base{}, fmt.Errorf("%w: base with a list of members that is cut short", ErrRecord)
		}
		n := int(rest[0])
		rest = rest[1:]
		for range n {
			*list = append(*list, binary.BigEndian.Uint64(rest))
			rest = rest[8:]
		}
	}
	if len(rest) != 1 || rest[0] > 1 || base.Generation == 0 || len(base.Members.Voters) == 0 {
		return Base{}, fmt.Errorf("%w: base of generation %d with %d voters", ErrRecord, base.Generation, len(base.Members.Voters))
	}
	base.Members.AutoLeave = rest[0] == 1
	return base, nil
}

// Gone says that a replica has left its group, or was replaced: its id is used up.
type Gone struct {
	Group   uint32
	Replica uint64
}

// AppendGone appends a Gone record.
func AppendGone(dst []byte, g Gone) []byte {
	dst = binary.BigEndian.AppendUint32(dst, g.Group)
	return binary.BigEndian.AppendUint64(dst, g.Replica)
}

// ParseGone parses a Gone record.
func ParseGone(b []byte) (g Gone, err error) {
	if len(b) != 4+8 {
		return g, fmt.Errorf("%w: gone of %d bytes", ErrRecord, len(b))
	}
	return Gone{Group: binary.BigEndian.Uint32(b), Replica: binary.BigEndian.Uint64(b[4:])}, nil
}
