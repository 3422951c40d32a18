package telemetry

import (
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"time"

	"brokerd/protocol/httpapi"
)

// The runtime's names of what is read, in the order of the samples.
const (
	heapObjects = iota
	heapObjectBytes
	heapUnusedBytes
	heapFreeBytes
	heapReleasedBytes
	heapGoalBytes
	gcCycles
	sampleCount
)

func memorySamples() []metrics.Sample {
	s := make([]metrics.Sample, sampleCount)
	s[heapObjects].Name = "/gc/heap/objects:objects"
	s[heapObjectBytes].Name = "/memory/classes/heap/objects:bytes"
	s[heapUnusedBytes].Name = "/memory/classes/heap/unused:bytes"
	s[heapFreeBytes].Name = "/memory/classes/heap/free:bytes"
	s[heapReleasedBytes].Name = "/memory/classes/heap/released:bytes"
	s[heapGoalBytes].Name = "/gc/heap/goal:bytes"
	s[gcCycles].Name = "/gc/cycles/total:gc-cycles"
	return s
}

// ReadMemory returns the state of the heap and the garbage collector's last pauses, 256 at most. It does not use
// runtime.ReadMemStats, which stops every goroutine: tools poll /stats, and deliveries would wait.
func ReadMemory() httpapi.Memory {
	s := memorySamples()
	metrics.Read(s)
	value := func(i int) uint64 {
		if s[i].Value.Kind() != metrics.KindUint64 { // a name this runtime does not know
			return 0
		}
		return s[i].Value.Uint64()
	}
	var gc debug.GCStats
	debug.ReadGCStats(&gc) // takes the heap's lock for a copy, stops nothing
	slices.Sort(gc.Pause)
	return httpapi.Memory{
		HeapObjects:       value(heapObjects),
		HeapIdleBytes:     value(heapFreeBytes) + value(heapReleasedBytes),
		HeapInUseBytes:    value(heapObjectBytes) + value(heapUnusedBytes),
		HeapReleasedBytes: value(heapReleasedBytes),
		GCPauseUsec100:    percentileUsec(gc.Pause, 100),
		GCPauseUsec99:     percentileUsec(gc.Pause, 99),
		GCPauseUsec95:     percentileUsec(gc.Pause, 95),
		NextGCBytes:       value(heapGoalBytes),
		GCTotalRuns:       uint32(value(gcCycles)),
	}
}

// percentileUsec returns the nearest-rank percentile of ascending pauses in microseconds, 0 when there are none.
func percentileUsec(sorted []time.Duration, percent int) uint64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*percent + 99) / 100 // ceil, from 1
	return uint64(sorted[rank-1].Microseconds())
}
