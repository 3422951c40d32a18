package storage

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAStartWithAWrongClockDropsNothing: a broker that starts with a clock that is a year ahead of what its log says drops nothing of what it keeps
// for an hour; when the clock has stayed so it is believed. One that was off for a while, with a clock that is right, does the same. (c1)
func TestAStartWithAWrongClockDropsNothing(t *testing.T) {
	for what, clean := range map[string]bool{"after a clean stop": true, "after a kill": false} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := keep(t, `{"retain_time":"24h"}`)
				w.publish(100, 400)
				w.consume()
				time.Sleep(5 * time.Second)
				if !clean {
					w.fs = w.fs.KillClone()
				}
				if err := w.stop(); err != nil && clean {
					t.Fatal(err)
				}
				time.Sleep(365 * 24 * time.Hour)
				w.start()
				w.subscribe()
				time.Sleep(50 * time.Minute)
				if _, _, count := w.shown(); count != 100 {
					t.Errorf("%d messages are kept while the clock is not believed", count)
				}
				time.Sleep(15 * time.Minute)
				if _, _, count := w.shown(); count != 0 {
					t.Errorf("%d messages are kept after the clock has stayed for an hour", count)
				}
				w.end()
			})
		})
	}
}
