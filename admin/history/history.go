package history

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
	"unsafe"
)

// Points is how many points each tier has.
const Points = 120

// Window is one tier: what its readers ask for.
type Window struct {
	Name string
	Step time.Duration
}

// Windows lists the tiers, finest first. Each step is a multiple of the one before.
var Windows = [tiers]Window{{"10m", 5 * time.Second}, {"1h", 30 * time.Second}, {"8h", 4 * time.Minute}}

const tiers = 3

// Key names a thing that has series.
type Key struct{ Of, Topic, Channel, Node string }

// History is the series of any number of things. It is safe for concurrent use.
type History struct {
	limit int // bytes of rings, and of things

	mu     sync.Mutex
	things map[Key]*thing // guarded by mu, as what it points to
	bytes  int            // of rings; guarded by mu
	held   int            // bytes of things without their rings, about; guarded by mu
	full   bool           // nothing can be given up for others in this step; guarded by mu
	now    [tiers]int64   // number of the step that is being recorded; guarded by mu
}

// thing is one Key's series.
type thing struct {
	born   int64 // first step of the finest tier
	last   int64 // last step of the finest tier that was recorded
	series []series
}

type series [tiers]ring

// ring is one tier of a series: the points of the last steps, point s at place s % Points.
type ring struct {
	points *[Points]point // nil while all points are equal to steady
	sum    float32        // of the step that is being recorded
	n      uint16         // of values in sum
	steady point          // when points is nil
}

const ringBytes = 2 * Points

// cost returns how many bytes a thing takes beside its rings, with its place in the map.
func (k *Key) cost(t *thing) int {
	const place = 2 * int(unsafe.Sizeof(Key{})+unsafe.Sizeof(thing{}))
	return place + len(k.Of) + len(k.Topic) + len(k.Channel) + len(k.Node) + len(t.series)*int(unsafe.Sizeof(series{}))
}

// New returns a History whose rings take no more than limit bytes, and all else that it knows of things no more than that either.
func New(limit int) *History {
	return &History{limit: limit, things: map[Key]*thing{}}
}

// Begin says what time it is: steps that are over are closed, in all things. It must be called before Record, with times that do
// not go back; one that does is taken as the last one.
func (h *History) Begin(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.full = false
	for i, w := range Windows {
		step := now.UnixNano() / int64(w.Step)
		if h.now[i] == 0 || step-h.now[i] > Points {
			h.clearLocked(i) // after an hour of sleep, say, no point is left that is in the window
			h.now[i] = step
		}
		for ; h.now[i] < step; h.now[i]++ {
			for _, t := range h.things {
				for s := range t.series {
					h.closeLocked(&t.series[s][i], h.now[i], h.now[i] == bornAt(t.born, i))
				}
			}
		}
	}
	h.forgetLocked()
}

// bornAt is a step of the finest tier as one of tier i.
func bornAt(born int64, i int) int64 { return born * int64(Windows[0].Step) / int64(Windows[i].Step) }

// clearLocked forgets the points of a tier.
func (h *History) clearLocked(i int) {
	for _, t := range h.things {
		for s := range t.series {
			h.dropLocked(&t.series[s][i], unknown)
		}
	}
}

// dropLocked gives up a ring for one value.
func (h *History) dropLocked(r *ring, steady point) {
	if r.points != nil {
		h.bytes -= ringBytes
	}
	r.points, r.steady = nil, steady
}

// forgetLocked drops things that have not been recorded for the longest window.
func (h *History) forgetLocked() {
	longest := int64(Windows[tiers-1].Step/Windows[0].Step) * Points
	for key, t := range h.things {
		if h.now[0]-t.last > longest {
			h.forgetThingLocked(key, t)
		}
	}
}

func (h *History) forgetThingLocked(key Key, t *thing) {
	for s := range t.series {
		for i := range t.series[s] {
			h.dropLocked(&t.series[s][i], unknown)
		}
	}
	h.held -= key.cost(t)
	delete(h.things, key)
}

// roomLocked sees to it that n bytes more may be held: what has not been recorded lately goes first, what for longest before the rest, and more of it
// than is needed, so that this is seldom looked for. Whoever names other things each time he is asked takes no more than the limit.
func (h *History) roomLocked(n int) bool {
	if h.held+n <= h.limit {
		return true
	}
	if h.full {
		return false
	}
	var stale []Key
	for key, t := range h.things {
		if t.last < h.now[0]-1 {
			stale = append(stale, key)
		}
	}
	slices.SortFunc(stale, func(a, b Key) int { return cmp.Compare(h.things[a].last, h.things[b].last) })
	for _, key := range stale {
		if h.held+n <= h.limit-h.limit/8 {
			break
		}
		h.forgetThingLocked(key, h.things[key])
	}
	h.full = h.held+n > h.limit
	return !h.full
}

// Record adds one value to each series of a thing, at the time that Begin was told. A NaN is no value. A new thing is passed over when there is no
// room for it.
func (h *History) Record(key Key, values ...float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.things[key]
	if t == nil {
		t = &thing{born: h.now[0], series: make([]series, len(values))}
		for s := range t.series {
			for i := range t.series[s] {
				t.series[s][i].steady = unknown
			}
		}
		n := key.cost(t)
		if !h.roomLocked(n) {
			return
		}
		h.held += n
		h.things[key] = t
	}
	t.last = h.now[0]
	for s, v := range values[:min(len(values), len(t.series))] {
		if v != v {
			continue
		}
		for i := range t.series[s] {
			if r := &t.series[s][i]; r.n < math.MaxUint16 {
				r.sum += float32(v)
				r.n++
			}
		}
	}
}

// closeLocked makes a point of what was recorded in a step; the first one of a thing says nothing of before it.
func (h *History) closeLocked(r *ring, step int64, first bool) {
	v := unknown
	if r.n > 0 {
		v = pointOf(r.sum / float32(r.n))
	}
	r.sum, r.n = 0, 0
	at := step % Points
	switch {
	case r.points != nil:
		r.points[at] = v
		if at == Points-1 && allEqual(r.points) {
			h.dropLocked(r, v)
		}
	case v == r.steady:
	case first:
		r.steady = v
	case h.bytes+ringBytes > h.limit:
		r.steady = v // no room for its past
	default:
		r.points = new([Points]point)
		for i := range r.points {
			r.points[i] = r.steady
		}
		r.points[at] = v
		h.bytes += ringBytes
	}
}

// at returns the point of a step in the window.
func (r *ring) at(step int64) point {
	if r.points == nil {
		return r.steady
	}
	return r.points[step%Points]
}

func allEqual(points *[Points]point) bool {
	for _, p := range points[1:] {
		if p != points[0] {
			return false
		}
	}
	return true
}

// Series returns the closed points of a window for each series of a thing, oldest first, NaN where nothing is known; the last
// of them ends where the step that is being recorded starts. start is when the first one begins. It returns n series of NaN
// for a thing that is not known.
func (h *History) Series(key Key, window, n int) (start time.Time, points [][]float32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.now[window] - Points
	step := int64(Windows[window].Step)
	points = make([][]float32, n)
	t := h.things[key]
	for s := range points {
		points[s] = make([]float32, Points)
		for i := range points[s] {
			points[s][i] = unknown.value()
			if t == nil || s >= len(t.series) || first+int64(i) < bornAt(t.born, window) {
				continue
			}
			points[s][i] = t.series[s][window].at(first + int64(i)).value()
		}
	}
	return time.Unix(0, first*step), points
}

// Mean returns the mean of the closed points of one series that lie between from and to before now, NaN when there are none.
func (h *History) Mean(key Key, window, s int, from, to time.Duration) float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.things[key]
	if t == nil || s >= len(t.series) {
		return math.NaN()
	}
	step := int64(Windows[window].Step)
	sum, n := 0.0, 0
	for at := max(h.now[window]-int64(from)/step, h.now[window]-Points, bornAt(t.born, window)); at < h.now[window]-int64(to)/step; at++ {
		if v := float64(t.series[s][window].at(at).value()); v == v {
			sum, n = sum+v, n+1
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

// Bytes returns how many bytes it takes, about.
func (h *History) Bytes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes + h.held
}
