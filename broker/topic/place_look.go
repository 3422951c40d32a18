package topic

import (
	"time"

	"brokerd/protocol"
)

// At returns the time that a place names; ok is false when it names none.
func (p Place) At() (at time.Time, ok bool) { return time.Unix(0, p.at), p.kind == atTime }

// IsBeginning reports whether a place is the beginning.
func (p Place) IsBeginning() bool { return p.kind == atBeginning }

// LookFrom has a look begin at a place. By a time those messages are shown that were published then or later, however the clock was set in
// between. It fails as FindMessage does, or as the disk cannot be read.
func (t *Topic) LookFrom(p Place, o *Look) error {
	err := p.beginLook(t, o)
	if p.kind == atTime && t.d != nil && t.d.retain.from() > 0 { // there times do not fall, and there may be much
		o.From, _, err = t.findPlace(p, 1)
	}
	return err
}

// beginLook has a look at a topic, or at a copy of one, begin at the place. By a time that is at the first message there is, and passes over what is older.
func (p Place) beginLook(in interface {
	Shown() Position
	FindMessage(protocol.MessageID) (Position, error)
}, o *Look) (err error) {
	switch o.From = 1; p.kind {
	case atEnd:
		o.From = in.Shown() + 1
	case atPosition:
		o.From = p.pos
	case atMessage:
		o.From, err = in.FindMessage(p.id)
	case atTime:
		o.Since = p.at
	}
	return err
}
