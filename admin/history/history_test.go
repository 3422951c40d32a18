package history

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Unix(1700000000, 0)

// model keeps everything that was recorded and works the points out when asked.
type model struct {
	now    time.Time
	values map[Key][]recorded
}

type recorded struct {
	at time.Time
	v  float64
}

// point is the mean of a key's values in a step, NaN for none.
func (m *model) point(key Key, from time.Time, step time.Duration) float64 {
	sum, n := 0.0, 0
	for _, r := range m.values[key] {
		if r.v == r.v && !r.at.Before(from) && r.at.Before(from.Add(step)) {
			sum, n = sum+r.v, n+1
		}
	}
	return sum / float64(n)
}

// TestAgainstAModel: whatever is recorded whenever, points are the means of their steps.
func TestAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := New(1 << 30)
		m := &model{now: start, values: map[Key][]recorded{}}
		h.Begin(m.now)
		for range rapid.IntRange(1, 400).Draw(t, "rounds") {
			// mostly every 2 seconds, now and then after a pause
			m.now = m.now.Add(rapid.SampledFrom([]time.Duration{2 * time.Second, 2 * time.Second, 3 * time.Second, time.Minute}).Draw(t, "pause"))
			h.Begin(m.now)
			for _, topic := range rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b"}}).Draw(t, "topics") {
				v := rapid.SampledFrom([]float64{0, 0, 0, 5, 7, math.NaN()}).Draw(t, "value")
				h.Record(Key{Topic: topic}, v)
				m.values[Key{Topic: topic}] = append(m.values[Key{Topic: topic}], recorded{m.now, v})
			}
		}
		for key := range m.values {
			for w := range Windows {
				check(t, h, m, key, w)
			}
		}
	})
}

// check compares a window's points with the model's. Before the step in which a thing was first recorded nothing may be told.
func check(t *rapid.T, h *History, m *model, key Key, w int) {
	step := Windows[w].Step
	begin, all := h.Series(key, w, 1)
	if !begin.Add(Points * step).Equal(m.now.Truncate(step)) {
		t.Fatalf("%s: points end at %v, now is %v", Windows[w].Name, begin.Add(Points*step), m.now)
	}
	for i, got := range all[0] {
		want := m.point(key, begin.Add(time.Duration(i)*step), step)
		if !(math.IsNaN(want) && math.IsNaN(float64(got))) && math.Abs(want-float64(got)) > 1e-4+want/2048 {
			t.Fatalf("%v %s point %d is %v, want %v", key, Windows[w].Name, i, got, want)
		}
	}
}

// TestIdleSeriesAreSmall: points of things that do not change take no ring, and come back to that when they are at rest again.
func TestIdleSeriesAreSmall(t *testing.T) {
	h := New(1 << 30)
	now := start
	run := func(steps int, v float64) {
		for range steps {
			now = now.Add(Windows[0].Step)
			h.Begin(now)
			h.Record(Key{Topic: "t"}, v, 1)
		}
	}
	run(1000, 3)
	if h.bytes != 0 {
		t.Errorf("%d bytes at rest", h.bytes)
	}
	run(2, 4)
	if h.bytes != ringBytes {
		t.Errorf("%d bytes after a change in one window", h.bytes)
	}
	if _, p := h.Series(Key{Topic: "t"}, 0, 2); p[0][Points-1] != 4 || p[0][Points-2] != 3 || p[1][0] != 1 {
		t.Errorf("points %v", p)
	}
	run(5*60*60/5*4, 4) // 20 hours
	if h.bytes != 0 {
		t.Errorf("%d bytes at rest again", h.bytes)
	}
}

// TestTheLimitHolds: beyond the limit things show what is now, and nothing grows.
func TestTheLimitHolds(t *testing.T) {
	const limit = 100 * ringBytes // room for 50 things, and not for all that they have
	h := New(limit)
	for i := range 1000 {
		h.Begin(start.Add(time.Duration(i) * Windows[0].Step))
		for thing := range 50 {
			h.Record(Key{Topic: fmt.Sprint(thing)}, float64(i))
		}
		if h.bytes > limit {
			t.Fatalf("%d bytes", h.bytes)
		}
	}
	for thing := range 50 {
		if _, p := h.Series(Key{Topic: fmt.Sprint(thing)}, 0, 1); p[0][Points-1] != 998 {
			t.Errorf("the newest point of %d is %v", thing, p[0][Points-1])
		}
	}
}

// TestForgotten: a thing that has not been recorded for the longest window is dropped, with its rings.
func TestForgotten(t *testing.T) {
	h := New(1 << 30)
	h.Begin(start)
	for i := range 100 {
		h.Begin(start.Add(time.Duration(i) * Windows[0].Step))
		h.Record(Key{Topic: "old"}, float64(i))
		h.Record(Key{Topic: "new"}, 0)
	}
	busy := h.Bytes()
	for now := start.Add(time.Hour); now.Before(start.Add(10 * time.Hour)); now = now.Add(time.Minute) {
		h.Begin(now)
		h.Record(Key{Topic: "new"}, 0)
	}
	if len(h.things) != 1 || h.Bytes() >= busy {
		t.Errorf("%d things, %d bytes of %d", len(h.things), h.Bytes(), busy)
	}
}

func TestMean(t *testing.T) {
	h := New(1 << 30)
	for i := range 60 {
		h.Begin(start.Add(time.Duration(i) * Windows[0].Step))
		h.Record(Key{Topic: "t"}, 100, float64(i))
	}
	h.Begin(start.Add(60 * Windows[0].Step))
	if got := h.Mean(Key{Topic: "t"}, 0, 1, 30*time.Second, 0); got != 56.5 { // 54 to 59
		t.Errorf("the last half minute is %v", got)
	}
	if got := h.Mean(Key{Topic: "t"}, 0, 1, 60*time.Second, 30*time.Second); got != 50.5 {
		t.Errorf("the half minute before is %v", got)
	}
	if got := h.Mean(Key{Topic: "t"}, 0, 1, time.Hour, 4*time.Minute); got != 5.5 { // from its first one on
		t.Errorf("before that it is %v", got)
	}
	if got := h.Mean(Key{Topic: "none"}, 0, 1, time.Hour, 0); !math.IsNaN(got) {
		t.Errorf("of nothing it is %v", got)
	}
	if got, names := Windows[2].Step*Points, Windows[2].Name; got != 8*time.Hour || names != "8h" {
		t.Errorf("the longest window is %v", got)
	}
	if !slices.IsSortedFunc(Windows[:], func(a, b Window) int { return int(a.Step - b.Step) }) {
		t.Error("windows are not finest first")
	}
}

// TestMemory: 1,000 topics with two channels each take a fifth of what the package comment says of 5,000, when all are idle and when all are busy.
func TestMemory(t *testing.T) {
	const topics = 1000
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc >> 10)
	}
	before := heap()
	h := New(1 << 30)
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprintf("team-%02d.service-%04d", i%40, i)
	}
	run := func(from, to int, busy float64) {
		for step := from; step < to; step++ {
			h.Begin(start.Add(time.Duration(step) * Windows[0].Step))
			for i, topic := range names {
				v := busy * float64(1+step*i%97)
				h.Record(Key{Of: "topic", Topic: topic}, v, v, v, v, v)
				h.Record(Key{Of: "channel", Topic: topic, Channel: "archive"}, v, v, v, v, v, v, v)
				h.Record(Key{Of: "channel", Topic: topic, Channel: "billing"}, v, v, v, v, v, v, v)
			}
		}
	}
	run(0, 4, 0)
	idle := heap() - before
	run(4, 110, 1) // more than two steps of the coarsest window
	busy := heap() - before
	t.Logf("%d KiB idle, %d busy, of which %d are rings", idle, busy, h.Bytes()>>10)
	if idle > 2*topics || busy > 16*topics {
		t.Errorf("%d KiB idle, %d KiB busy", idle, busy)
	}
	runtime.KeepAlive(h)
}

// TestPoints: figures come back as they were to within a twentieth of a percent, whole ones up to 2,048 exactly, and in their order.
func TestPoints(t *testing.T) {
	for n := range 2049 {
		if got := pointOf(float32(n)).value(); got != float32(n) {
			t.Fatalf("%d comes back as %v", n, got)
		}
	}
	for _, test := range []struct{ in, out float64 }{{-3, 0}, {0, 0}, {1e-5, 0}, {math.Inf(1), 5.6e14}, {1e30, 5.6e14}} {
		if got := float64(pointOf(float32(test.in)).value()); math.Abs(got-test.out) > test.out/100 {
			t.Errorf("%v comes back as %v", test.in, got)
		}
	}
	if v := pointOf(float32(math.NaN())).value(); v == v {
		t.Errorf("nothing comes back as %v", v)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float32Range(0.0001, 5e14).Draw(t, "a"), rapid.Float32Range(0.0001, 5e14).Draw(t, "b")
		if got := pointOf(a).value(); math.Abs(float64(got-a)) > float64(a)/2000 {
			t.Errorf("%v comes back as %v", a, got)
		}
		if a < b && pointOf(a) > pointOf(b) {
			t.Errorf("%v is above %v", a, b)
		}
	})
}

// TestWhatNamesOtherThingsEachTimeTakesNoMore: what has not been told of lately goes for it, and what is told of all the time stays; a thing that finds all
// others just told of is passed over.
func TestWhatNamesOtherThingsEachTimeTakesNoMore(t *testing.T) {
	const limit = 100 << 10
	h := New(limit)
	lasting := Key{Of: "topic", Topic: "lasting"}
	now := start
	for round := range 500 {
		now = now.Add(Windows[0].Step)
		h.Begin(now)
		h.Record(lasting, float64(round))
		for i := range 20 {
			h.Record(Key{Of: "topic", Topic: fmt.Sprint("passing ", round, " ", i)}, 1, 2, 3, 4, 5)
		}
		if h.held > limit || h.Bytes() > 2*limit || len(h.things) > limit/300 {
			t.Fatalf("round %d: %d bytes, %d with rings, %d things", round, h.held, h.Bytes(), len(h.things))
		}
	}
	h.Begin(now.Add(Windows[0].Step))
	if _, p := h.Series(lasting, 0, 1); p[0][0] != 500-Points || p[0][Points-1] != 499 {
		t.Errorf("the lasting one has %v", p)
	}
	held, things := h.held, len(h.things)
	for key, thing := range h.things {
		held -= key.cost(thing)
	}
	if held != 0 || things < 50 {
		t.Errorf("%d bytes are held for nothing, %d things", held, things)
	}
	for i := range 10_000 { // all at once
		h.Record(Key{Topic: fmt.Sprint("many ", i)}, 1)
	}
	if h.held > limit || h.things[lasting] == nil {
		t.Errorf("%d bytes, and the lasting one: %v", h.held, h.things[lasting])
	}
}
