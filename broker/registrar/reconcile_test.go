package registrar

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func newLogger(b *logBuffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// FuzzDiff turns bytes into two lists of topics and checks that the commands lead a lookup from one to the other, each of
// them once and channels before their topic.
func FuzzDiff(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{3, 2, 9})
	f.Add([]byte{}, []byte{0x11, 0x12, 0x13, 0x20})
	f.Add([]byte{0x11, 0x12, 0x13, 0x20}, []byte{})
	f.Fuzz(func(t *testing.T, told, want []byte) {
		fake := &fakeLookup{known: map[string]struct{}{}}
		count := 0
		send := func(line []byte) error {
			word, names, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
			if word == "UNREGISTER" && !strings.Contains(names, " ") {
				for known := range fake.known {
					if strings.HasPrefix(known, names+" ") {
						t.Fatalf("topic %s is unregistered before its channel %q", names, known)
					}
				}
			}
			count++
			fake.take(strings.TrimSuffix(string(line), "\n"))
			return nil
		}
		a, b := topicsOf(told).snapshot(), topicsOf(want).snapshot()
		for _, step := range [][2][]Topic{{nil, a}, {a, b}} {
			if err := diff(step[0], step[1], send); err != nil {
				t.Fatal(err)
			}
			if got, want := fake.registered(), wanted(step[1]); got != want {
				t.Fatalf("registered %q, want %q", got, want)
			}
		}
		before := count
		if err := diff(b, b, send); err != nil || count != before {
			t.Fatalf("%d commands when nothing changed", count-before)
		}
	})
}

// topicsOf makes a topic of each high nibble and a channel of each low nibble but 0.
func topicsOf(b []byte) Source {
	return func() []Topic {
		var channels [16]map[byte]bool
		for _, x := range b {
			if channels[x>>4] == nil {
				channels[x>>4] = map[byte]bool{}
			}
			if x&15 != 0 {
				channels[x>>4][x&15] = true
			}
		}
		var list []Topic
		for i, set := range channels {
			if set == nil {
				continue
			}
			topic := Topic{Name: fmt.Sprint("t", i)}
			for c := range set {
				topic.Channels = append(topic.Channels, fmt.Sprint("c", c))
			}
			list = append(list, topic)
		}
		return list
	}
}

func wanted(topics []Topic) string {
	fake := &fakeLookup{known: map[string]struct{}{}}
	for _, t := range topics {
		fake.take("REGISTER " + t.Name)
		for _, c := range t.Channels {
			fake.take("REGISTER " + t.Name + " " + c)
		}
	}
	return fake.registered()
}
