package topic

import (
	"cmp"
	"errors"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"brokerd/broker/policy"
	"brokerd/protocol"
)

// Place is where in a topic somebody begins to read: at its beginning or end, at a position, at a message, or at a time.
type Place struct {
	kind placeKind
	pos  Position
	id   protocol.MessageID
	at   int64 // Unix nanoseconds
}

type placeKind uint8

const (
	atBeginning placeKind = iota
	atEnd
	atPosition
	atMessage
	atTime
)

// ErrPlace is a text that names no place.
var ErrPlace = errors.New("a place is beginning, end, a time such as 2026-01-31T10:00:00Z or -2h, milliseconds since 1970, pos:N or id:HEX")

// latestPlace is the last millisecond that a place can name: in the year 2261 nanoseconds do not fit any more.
const latestPlace = math.MaxInt64 / int64(time.Millisecond)

// ParsePlace reads a place. Times that are told as -2h count from now.
func ParsePlace(text string, now time.Time) (Place, error) {
	number, byPosition := strings.CutPrefix(text, "pos:")
	name, byID := strings.CutPrefix(text, "id:")
	ago, back := strings.CutPrefix(text, "-")
	switch {
	case text == "beginning":
		return Place{kind: atBeginning}, nil
	case text == "end":
		return Place{kind: atEnd}, nil
	case byPosition:
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || n == 0 {
			return Place{}, ErrPlace
		}
		return Place{kind: atPosition, pos: Position(n)}, nil
	case byID:
		id, ok := protocol.ParseMessageID([]byte(name))
		if !ok {
			return Place{}, ErrPlace
		}
		return Place{kind: atMessage, id: id}, nil
	case back:
		d, err := policy.ParseDuration(ago)
		if err != nil {
			return Place{}, ErrPlace
		}
		return Place{kind: atTime, at: now.Add(-d).UnixNano()}, nil
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= 0 && ms <= latestPlace {
		return Place{kind: atTime, at: ms * int64(time.Millisecond)}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, strings.Replace(text, " ", "+", 1)) // a + of a query, not encoded, has come as a blank
	if err != nil || at.Year() < 1970 || at.Year() > 2200 {
		return Place{}, ErrPlace
	}
	return Place{kind: atTime, at: at.UnixNano()}, nil
}

// findPlace returns the position of a place: of the first message there or behind it, one behind the last that is shown when there is none. A time is
// looked for from a position on. early says that it is before all that is there. It may read the disk. It fails as FindMessage, or as the
// disk cannot be read.
func (t *Topic) findPlace(p Place, from Position) (pos Position, early bool, err error) {
	d := t.d
	end := d.shown() + 1
	switch p.kind {
	case atBeginning:
		return 1, false, nil
	case atPosition:
		return min(p.pos, end), false, nil
	case atMessage:
		pos, err = t.FindMessage(p.id)
		return min(pos, end), false, err
	case atTime:
		return t.findTime(p.at, from, end)
	}
	return end, false, nil
}

// findTime returns the position of the first message that came at a time or later, from a position on: none before it did. Where stamps do
// not fall it is searched for among the first messages of nodes, and in one of these. What came before the clock was set back is looked
// through: a place that is too late would have a skip discard what it must not.
func (t *Topic) findTime(at int64, from, end Position) (pos Position, early bool, err error) {
	nodes := t.d.table.from(from)
	nodes = nodes[:sort.Search(len(nodes), func(i int) bool { return nodes[i].first >= end })]
	rises := t.risesFrom(end)
	mixed := sort.Search(len(nodes), func(i int) bool { return nodes[i].first >= rises })
	for _, s := range nodes[:mixed] {
		if pos, err = t.firstSince(s, at, from); err != nil || pos > 0 {
			return min(pos, end), s == nodes[0] && pos <= max(s.first, from), err
		}
	}
	nodes = nodes[mixed:]
	i, err := t.searchTime(nodes, at)
	if err != nil {
		return 0, false, err
	}
	if i > 0 {
		if pos, err = t.timeIn(nodes[i-1], at); err != nil || pos > 0 {
			return min(pos, end), false, err
		}
	}
	if i == len(nodes) {
		return end, false, nil
	}
	return nodes[i].first, i == 0 && mixed == 0, nil
}

// risesFrom returns from which position on the stamps of messages before another one are known not to fall.
func (t *Topic) risesFrom(end Position) Position {
	d := t.d
	t.pub.Lock()
	defer t.pub.Unlock()
	switch floor := d.retain.from(); {
	case d.rises > 0:
		return d.rises
	case floor > 0: // an earlier build has written it, and they do not fall in what is kept
		return floor
	}
	return end
}

// firstSince returns the position of the first message of a node, from a position on, that came at a time or later, 0 when none did.
func (t *Topic) firstSince(s *stored, at int64, from Position) (Position, error) {
	pieces, err := t.pieces(s)
	if err != nil {
		return 0, err
	}
	for _, p := range pieces {
		if newest, err := t.newestTime(&keptNode{s: p, frames: t.inMemory(p.node)}); err != nil || newest < at {
			if err != nil {
				return 0, err
			}
			continue
		}
		node, err := t.loadNode(p)
		if err != nil {
			return 0, err
		}
		pos := Position(0)
		node.each(p, func(m protocol.MessageFrame, here Position) bool {
			if here >= from && m.Timestamp() >= at {
				pos = here
			}
			return pos == 0
		})
		if pos > 0 {
			return pos, nil
		}
	}
	return 0, nil
}

// noteStamp notes when the message at a position came. Topic.pub is held.
func (d *logStore) noteStamp(pos Position, stamp int64) {
	if stamp < d.stamp || d.rises == 0 {
		d.rises = pos
	}
	d.stamp = stamp
}

// noteStamps is noteStamp of messages from a position on that have not one stamp.
func (d *logStore) noteStamps(first Position, frames []byte) {
	for ; len(frames) > 0; first++ {
		m := protocol.FirstMessage(frames)
		frames = frames[len(m):]
		d.noteStamp(first, m.Timestamp())
	}
}

// searchTime returns the index of the first node whose first message came at a time or later.
func (t *Topic) searchTime(nodes []*stored, at int64) (i int, err error) {
	i = sort.Search(len(nodes), func(i int) bool {
		first, failed := t.firstTime(&keptNode{s: nodes[i], frames: t.inMemory(nodes[i].node)})
		err = cmp.Or(err, failed)
		return first >= at
	})
	return i, err
}

// timeIn returns the position of the first message of a node, or of its pieces, that came at a time or later, 0 when none did.
func (t *Topic) timeIn(s *stored, at int64) (pos Position, err error) {
	if s.isFile() {
		list, err := t.pieces(s)
		if err != nil {
			return 0, err
		}
		i, err := t.searchTime(list, at)
		if err != nil {
			return 0, err
		}
		if i > 0 {
			if pos, err := t.timeIn(list[i-1], at); err != nil || pos > 0 {
				return pos, err
			}
		}
		if i < len(list) {
			return list[i].first, nil
		}
		return 0, nil
	}
	node, err := t.loadNode(s)
	if err != nil {
		return 0, err
	}
	node.each(s, func(m protocol.MessageFrame, here Position) bool {
		if m.Timestamp() >= at {
			pos = here
		}
		return pos == 0
	})
	return pos, nil
}
