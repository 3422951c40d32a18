package history

import "math"

// point is a figure in 16 bits: 6 of exponent, 10 of fraction, no sign. It holds 0, whole numbers up to 2,048 as they are, and others from
// 0.00004 to 560,000,000,000,000 to within a twentieth of a percent: more than a chart can show. What is below is 0.
type point uint16

const (
	// unknown is the point of a step in which nothing was recorded.
	unknown point = math.MaxUint16
	// largest is the largest figure's point.
	largest = unknown - 1

	fraction = 23 - 10          // bits of a float32's fraction that are dropped
	lowest   = (127 - 15) << 23 // the float32 bits of 2^-15, which stands for 0
)

// pointOf returns the point nearest to v: 0 for what is below it, unknown for NaN.
func pointOf(v float32) point {
	switch {
	case v != v:
		return unknown
	case v <= 0:
		return 0
	}
	bits := math.Float32bits(v)
	if bits <= lowest {
		return 0
	}
	return point(min((bits-lowest+1<<(fraction-1))>>fraction, uint32(largest)))
}

// value returns the point's figure, NaN for unknown.
func (p point) value() float32 {
	switch p {
	case unknown:
		return float32(math.NaN())
	case 0:
		return 0
	}
	return math.Float32frombits(uint32(p)<<fraction + lowest)
}
