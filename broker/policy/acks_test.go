package policy

import (
	"strings"
	"testing"
)

// TestAcksGoTogether: a topic cannot ask for less than it allows, and a publish is held to that.
func TestAcksGoTogether(t *testing.T) {
	at := Place{Topic: "orders", Logged: true}
	layer := func(text string) Layer { return Layer{Name: "orders", Set: mustSet(t, false, text)} }
	if err := Check(at, layer(`{"acks":"0","acks_min":"1"}`)); err == nil || !strings.Contains(err.Error(), "acks: must be at least what acks_min is, 1, not") {
		t.Errorf("acks 0 under acks_min 1: %v", err)
	}
	for _, c := range []struct {
		set   string
		asked Acks
		want  Acks
		ok    bool
	}{
		{`{}`, AcksUnsaid, AcksAll, true}, {`{}`, AcksNone, AcksNone, true}, {`{"acks":"0"}`, AcksUnsaid, AcksNone, true}, {`{"acks":"0"}`, AcksAll, AcksAll, true},
		{`{"acks_min":"1"}`, AcksNone, AcksNone, false}, {`{"acks_min":"1"}`, AcksOne, AcksOne, true}, {`{"acks_min":"all"}`, AcksUnsaid, AcksAll, true},
		{`{"acks_min":"1","dedup_window":"1m"}`, AcksUnsaid, AcksAll, true},
	} {
		if got, ok := Of(at, layer(c.set)).Asked(c.asked); got != c.want || ok != c.ok {
			t.Errorf("%s, asked %q: %q %v, want %q %v", c.set, c.asked, got, ok, c.want, c.ok)
		}
	}
}

// TestOnlyLoggedTopics: at level memory the options of a log are refused where they are set, and have no effect where a pattern has them.
func TestOnlyLoggedTopics(t *testing.T) {
	at := Place{Topic: "orders"}
	for _, text := range []string{`{"dedup_window":"1m"}`, `{"dedup_max":5}`, `{"dedup_from":"body"}`, `{"acks":"0"}`, `{"acks_min":"1"}`} {
		l := Layer{Name: "orders", Set: mustSet(t, false, text)}
		if err := Check(at, l); err == nil || !strings.Contains(err.Error(), "level disk or fsync") {
			t.Errorf("%s at level memory: %v", text, err)
		}
		if p := Of(at, l); p != nil {
			t.Errorf("%s at level memory is in force: %+v", text, p)
		}
		if err := Check(Place{Topic: "orders", Logged: true}, l); err != nil {
			t.Errorf("%s at level disk: %v", text, err)
		}
	}
}
