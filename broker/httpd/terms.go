package httpd

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// terms are what a publish by HTTP asks for beside its messages.
type terms struct {
	delay time.Duration
	level topic.Level
	key   string // that orders its messages; empty: it has none
	dedup string // its deduplication key; empty: it has none
	ids   bool   // the answer is to be which messages they have become
}

// terms reads the arguments of a publish. The moment at which it is due, its time to live and when it is answered go into the batch.
func (a *api) terms(q httpapi.Query, t *topic.Topic, b *topic.Batch) (m terms, err error) {
	if err = q.Once("key", "dedup", "acks", "ttl", "at", "durability", "answer"); err != nil {
		return m, err
	}
	if m.delay, err = a.delay(q); err != nil {
		return m, err
	}
	if b.Due, err = a.due(q, time.Now()); err != nil {
		return m, err
	}
	if m.level, err = durability(q, t); err != nil {
		return m, err
	}
	if b.TTL, err = timeToLive(q, t); err != nil {
		return m, err
	}
	if b.Acks, err = acks(q, t, m.level); err != nil {
		return m, err
	}
	if m.key, err = word(q, "key"); err != nil {
		return m, err
	}
	if m.dedup, err = word(q, "dedup"); err != nil {
		return m, err
	}
	switch answer, ok := q.Lookup("answer"); {
	case answer == "id":
		m.ids = true
	case ok:
		return m, refuse(http.StatusBadRequest, "INVALID_ANSWER: it can be id, or be left out")
	}
	return m, nil
}

// word returns an argument that is a word of a publish, empty when it is absent.
func word(q httpapi.Query, name string) (string, error) {
	text, ok := q.Lookup(name)
	if ok && (text == "" || len(text) > protocol.MaxWord) {
		return "", invalidArg(name, fmt.Sprintf("it must have 1 to %d bytes", protocol.MaxWord))
	}
	return text, nil
}

// acks returns the argument acks: when the request is answered.
func acks(q httpapi.Query, t *topic.Topic, level topic.Level) (policy.Acks, error) {
	text, ok := q.Lookup("acks")
	if !ok {
		return policy.AcksUnsaid, nil
	}
	asked, err := topic.ParseAcks(text)
	if err == nil && t != nil {
		err = t.TakesAcks(asked)
	}
	switch {
	case err != nil:
		return asked, invalidArg("acks", err.Error())
	case asked == policy.AcksNone && level > topic.Memory:
		return asked, invalidArg("acks", "acks 0 is answered at once, and durability asks to wait")
	}
	return asked, nil
}

// duplicateHeader says how many messages of a publish were not stored, as their deduplication keys had been accepted before.
const duplicateHeader = "Brokerd-Duplicate"

// published returns the answer to a publish.
func (m *terms) published(w http.ResponseWriter, b *topic.Batch) any {
	r := b.Receipt()
	if n := len(r.Duplicates); n > 0 {
		w.Header().Set(duplicateHeader, strconv.Itoa(n))
	}
	if !m.ids {
		return "OK"
	}
	all := r.Count + len(r.Duplicates)
	out := httpapi.Published{IDs: make([]string, all), Positions: []uint64{}}
	again, stored := r.Duplicates, 0
	for i := range all {
		if len(again) > 0 && again[0].Index == i {
			out.Duplicates = append(out.Duplicates, i)
			out.Positions = append(out.Positions, uint64(again[0].Position))
			again = again[1:]
			continue
		}
		out.IDs[i] = (r.ID + protocol.MessageID(stored)).String()
		if r.Position > 0 {
			out.Positions = append(out.Positions, uint64(r.Position)+uint64(stored))
		}
		stored++
	}
	return out
}
