package inflight

import (
	"errors"
	"slices"
	"testing"

	"brokerd/protocol"

	"pgregory.net/rapid"
)

// modelMessage is a message in flight as the package's promises describe it.
type modelMessage struct {
	pos       Position
	frame     protocol.MessageFrame
	attempts  uint16
	owner     string
	delivered int64
	timeout   int64
	deadline  int64
}

// setModel is Set written as plainly as can be: one map, searched whole.
type setModel map[protocol.MessageID]*modelMessage

func (m setModel) remove(id protocol.MessageID, owner string) (*modelMessage, error) {
	v := m[id]
	switch {
	case v == nil:
		return nil, ErrNotInFlight
	case v.owner != owner:
		return nil, ErrNotOwner
	}
	delete(m, id)
	return v, nil
}

func (m setModel) touch(id protocol.MessageID, owner string, now, limit int64) error {
	v := m[id]
	switch {
	case v == nil:
		return ErrNotInFlight
	case v.owner != owner:
		return ErrNotOwner
	}
	v.deadline = min(now+v.timeout, v.delivered+limit)
	return nil
}

func (m setModel) next() (deadline int64, ok bool) {
	for _, v := range m {
		if !ok || v.deadline < deadline {
			deadline, ok = v.deadline, true
		}
	}
	return deadline, ok
}

const modelLimit = 40 // nanoseconds that TOUCH extends to, close enough to the timeouts to matter

// setMachine applies the same operations to a Set and its model.
type setMachine struct {
	set   Set[string]
	model setModel
	now   int64
	lanes map[string]int // of each consumer that subscribes
	wants map[string]int64
}

var modelOwners = []string{"ann", "bob", "cid", "dan"}

func newSetMachine() *setMachine {
	return &setMachine{model: setModel{}, lanes: map[string]int{}, wants: map[string]int64{}}
}

func drawID(t *rapid.T) protocol.MessageID {
	// Few ids, some that follow each other, and some that share their low bits, so that they collide in the table.
	return protocol.MessageID(rapid.Uint64Range(0, 40).Draw(t, "id") << rapid.SampledFrom([]uint{0, 1, 32, 58}).Draw(t, "shift"))
}

func (m *setMachine) Advance(t *rapid.T) { m.now += rapid.Int64Range(1, 20).Draw(t, "ns") }

func (m *setMachine) Subscribe(t *rapid.T) {
	owner := rapid.SampledFrom(modelOwners).Draw(t, "owner")
	if _, ok := m.lanes[owner]; ok {
		t.Skip("is a consumer")
	}
	timeout := rapid.SampledFrom([]int64{5, 10, 25, 60}).Draw(t, "timeout")
	m.lanes[owner], m.wants[owner] = m.set.AcquireLane(timeout), timeout
}

func (m *setMachine) Add(t *rapid.T) {
	owner := rapid.SampledFrom(modelOwners).Draw(t, "owner")
	lane, ok := m.lanes[owner]
	if !ok {
		t.Skip("is no consumer")
	}
	id := drawID(t)
	v := &modelMessage{
		pos: Position(rapid.Uint64().Draw(t, "pos")), frame: protocol.AppendMessageHeader(nil, 0, 1, id, 0), attempts: rapid.Uint16().Draw(t, "attempts"),
		owner: owner, delivered: m.now, timeout: m.wants[owner], deadline: m.now + m.wants[owner],
	}
	added := m.set.Add(id, v.pos, v.frame, v.attempts, owner, lane, m.now)
	if known := m.model[id] != nil; added == known {
		t.Fatalf("Add of %s is %v, known before: %v", id, added, known)
	}
	if added {
		m.model[id] = v
	}
}

func (m *setMachine) Remove(t *rapid.T) {
	id, owner := drawID(t), rapid.SampledFrom(modelOwners).Draw(t, "owner")
	got, err := m.set.Remove(id, owner)
	want, wantErr := m.model.remove(id, owner)
	if !errors.Is(err, wantErr) {
		t.Fatalf("Remove of %s: %v, want %v", id, err, wantErr)
	}
	if err == nil {
		m.same(t, got, want)
	}
}

func (m *setMachine) Touch(t *rapid.T) {
	id, owner := drawID(t), rapid.SampledFrom(modelOwners).Draw(t, "owner")
	err, wantErr := m.set.Touch(id, owner, m.now, modelLimit), m.model.touch(id, owner, m.now, modelLimit)
	if !errors.Is(err, wantErr) {
		t.Fatalf("Touch of %s: %v, want %v", id, err, wantErr)
	}
}

// TouchSome touches a message that is there, as most of the ids that are drawn are not.
func (m *setMachine) TouchSome(t *rapid.T) {
	ids := make([]protocol.MessageID, 0, len(m.model))
	for id := range m.model {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		t.Skip("nothing in flight")
	}
	slices.Sort(ids)
	id := rapid.SampledFrom(ids).Draw(t, "known id")
	owner := m.model[id].owner
	if err := m.set.Touch(id, owner, m.now, modelLimit); err != nil {
		t.Fatalf("Touch of %s by its owner: %v", id, err)
	}
	if err := m.model.touch(id, owner, m.now, modelLimit); err != nil {
		t.Fatal(err)
	}
}

func (m *setMachine) Expire(t *rapid.T) {
	got, ok := m.set.Expire(m.now)
	first, some := m.model.next()
	if want := some && first <= m.now; ok != want {
		t.Fatalf("Expire at %d is %v, earliest deadline %d", m.now, ok, first)
	}
	if !ok {
		return
	}
	id, _ := got.Frame.ID()
	want := m.model[id]
	if want == nil || want.deadline > m.now {
		t.Fatalf("Expire at %d gave %s, which is %+v", m.now, id, want)
	}
	delete(m.model, id)
	m.same(t, got, want)
}

func (m *setMachine) Unsubscribe(t *rapid.T) {
	owner := rapid.SampledFrom(modelOwners).Draw(t, "owner")
	lane, ok := m.lanes[owner]
	if !ok {
		t.Skip("is no consumer")
	}
	m.set.RemoveOwner(owner, func(got Item[string]) {
		id, _ := got.Frame.ID()
		want, err := m.model.remove(id, owner)
		if err != nil {
			t.Fatalf("RemoveOwner of %s gave %s: %v", owner, id, err)
		}
		m.same(t, got, want)
	})
	for id, v := range m.model {
		if v.owner == owner {
			t.Fatalf("RemoveOwner of %s left %s", owner, id)
		}
	}
	m.set.ReleaseLane(lane)
	delete(m.lanes, owner)
}

func (m *setMachine) Clear(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
		t.Skip("not now")
	}
	n := 0
	m.set.Clear(func(Item[string]) { n++ })
	if n != len(m.model) {
		t.Fatalf("Clear gave %d of %d", n, len(m.model))
	}
	clear(m.model)
}

func (m *setMachine) Trim(*rapid.T) { m.set.Trim() }

func (m *setMachine) same(t *rapid.T, got Item[string], want *modelMessage) {
	if string(got.Frame) != string(want.frame) || got.Attempts != want.attempts || got.Pos != want.pos || got.Owner != want.owner {
		t.Fatalf("left as %+v, was put in as %+v", got, want)
	}
}

// Check runs after every operation.
func (m *setMachine) Check(t *rapid.T) {
	if m.set.Len() != len(m.model) {
		t.Fatalf("Len is %d, want %d", m.set.Len(), len(m.model))
	}
	got, ok := m.set.Next()
	if want, some := m.model.next(); ok != some || got != want {
		t.Fatalf("Next is %d %v, want %d %v", got, ok, want, some)
	}
	if limit := len(modelOwners) + 5; len(m.set.lanes) > limit {
		t.Fatalf("%d lanes for %d consumers", len(m.set.lanes), len(m.lanes))
	}
}

// A set does what a plain map would: whatever happens, each message leaves once, to its owner or at its deadline.
func TestSetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { t.Repeat(rapid.StateMachineActions(newSetMachine())) })
}

// Deferred gives out what is due, the earliest first, each message once.
func TestDeferredModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d DeferredMemory
		var model []Due
		now := int64(0)
		earliest := func() int {
			best := -1
			for i := range model {
				if best < 0 || model[i].At < model[best].At {
					best = i
				}
			}
			return best
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				m := Due{Frame: protocol.AppendMessageHeader(nil, int64(len(model)), 1, drawID(t), 0),
					At: now + rapid.Int64Range(0, 30).Draw(t, "delay"), Attempts: rapid.Uint16().Draw(t, "attempts")}
				d.Push(m)
				model = append(model, m)
			},
			"pop": func(t *rapid.T) {
				now += rapid.Int64Range(0, 10).Draw(t, "ns")
				got, ok := d.Pop(now)
				best := earliest()
				if want := best >= 0 && model[best].At <= now; ok != want {
					t.Fatalf("Pop at %d is %v", now, ok)
				}
				if !ok {
					return
				}
				i := slices.IndexFunc(model, func(m Due) bool {
					return m.At == got.At && m.Attempts == got.Attempts && string(m.Frame) == string(got.Frame)
				})
				if i < 0 || got.At != model[best].At {
					t.Fatalf("Pop at %d gave %+v, earliest %+v", now, got, model[best])
				}
				model = slices.Delete(model, i, i+1)
			},
			"list": func(t *rapid.T) {
				from, limit := Place{}, rapid.IntRange(1, 4).Draw(t, "limit")
				if len(model) > 0 {
					m := model[rapid.IntRange(0, len(model)-1).Draw(t, "behind")]
					from = Place{At: m.At, Pos: m.Key()}
				}
				want := slices.Clone(model)
				want = slices.DeleteFunc(want, func(m Due) bool { return byDue(m.At, m.Key(), from) <= 0 })
				slices.SortFunc(want, func(a, b Due) int { return byDue(a.At, a.Key(), Place{At: b.At, Pos: b.Key()}) })
				got := d.After(from, limit)
				if !slices.EqualFunc(got, want[:min(limit, len(want))], func(a, b Due) bool { return a.At == b.At && a.Key() == b.Key() }) {
					t.Fatalf("behind %+v come %+v, want the first %d of %+v", from, got, limit, want)
				}
			},
			"clear": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
					t.Skip("not now")
				}
				n := 0
				d.Clear(func(Due) { n++ })
				if n != len(model) {
					t.Fatalf("Clear gave %d of %d", n, len(model))
				}
				model = nil
			},
			"": func(t *rapid.T) {
				at, ok := d.Next()
				if best := earliest(); d.Len() != len(model) || ok != (best >= 0) || ok && at != model[best].At {
					t.Fatalf("Len %d, Next %d %v, model %+v", d.Len(), at, ok, model)
				}
			},
		})
	})
}
