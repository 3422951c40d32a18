package replica

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What an owner has no room for stays in the log: the replica acknowledges it, so that entries are committed by it, and its owner is told once there is room, or the
// replica leads.
func TestAnOwnerWithoutRoomIsToldLater(t *testing.T) {
	for _, leads := range []bool{false, true} {
		t.Run(fmt.Sprint("it leads: ", leads), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var full []*atomic.Bool
				c := newCluster(t, 3, 0, func(o *Options) {
					f := new(atomic.Bool)
					full = append(full, f)
					o.Full, o.MaxEntry, o.InflightBytes = f.Load, 1<<10, 8<<10
				})
				defer c.close()
				l := c.leader()
				follower, other := c.nodes[l.id%3], c.nodes[(l.id+1)%3]
				full[follower.id-1].Store(true)
				c.setCut(true, other.id)
				var want []string
				for i := range 100 {
					want = append(want, fmt.Sprint(i, strings.Repeat("x", 500)))
					fatal(t, l.publish(want[i]))
				}
				time.Sleep(time.Second)
				if n := len(follower.told()); n > 0 {
					t.Errorf("it was told of %d records without room for any", n)
				}
				s, err := follower.group.Status(t.Context())
				if err != nil || s.Last < 100 {
					t.Fatalf("it has entries up to %d: %v", s.Last, err)
				}
				if leads {
					c.setCut(false, other.id)
					c.setCut(true, l.id)
					if now := c.leader(); now != follower {
						t.Fatalf("replica %d leads, which lacks entries", now.id)
					}
				} else {
					full[follower.id-1].Store(false)
					time.Sleep(time.Second)
				}
				if got := follower.told(); !slices.Equal(got, want) {
					t.Errorf("it was told of %d records in the end", len(got))
				}
				c.setCut(false, 1, 2, 3)
			})
		})
	}
}
