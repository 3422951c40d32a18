package targets

import (
	"fmt"
	"slices"
	"testing"
)

// TestOwner: a key has one owner whatever the order of the addresses, all get a fair part, and one that comes or goes moves only its own keys.
func TestOwner(t *testing.T) {
	addresses := []string{"10.0.0.1:4150", "10.0.0.2:4150", "10.0.0.3:4150", "queue-4.example.com:4150"}
	turned := slices.Clone(addresses)
	slices.Reverse(turned)
	const keys = 20_000
	count := map[string]int{}
	moved := 0
	for i := range keys {
		key := fmt.Append(nil, i)
		a := addresses[Owner(key, addresses)]
		if b := turned[Owner(key, turned)]; a != b {
			t.Fatalf("%s belongs to %s, and to %s in another order", key, a, b)
		}
		count[a]++
		less := addresses[:3]
		if b := less[Owner(key, less)]; b != a {
			if moved++; a != addresses[3] {
				t.Fatalf("%s moves from %s to %s as another one goes", key, a, b)
			}
		}
	}
	for _, a := range addresses {
		if n := count[a]; n < keys/4*9/10 || n > keys/4*11/10 {
			t.Errorf("%s gets %d of %d keys", a, n, keys)
		}
	}
	if moved != count[addresses[3]] {
		t.Errorf("%d keys move, %d had the owner that goes", moved, count[addresses[3]])
	}
	if Owner([]byte("any"), addresses[:1]) != 0 {
		t.Error("the only address is not the owner")
	}
}
