package cmdkit

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// A verb that takes long says on standard error how far it is, once it knows; one that is soon done says nothing.
func TestAVerbThatTakesLongSaysHowFarItIs(t *testing.T) {
	for _, c := range []struct {
		takes time.Duration
		want  string
	}{
		{progressEvery - time.Second, ""},
		{3*progressEvery + time.Second, "p read: 10s: half\\nof it\np read: 15s: half\\nof it\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			v := Verb{Name: "read", Run: func([]string, io.Writer) error {
				time.Sleep(c.takes)
				return nil
			}, Progress: func() string {
				if time.Since(began) <= progressEvery {
					return ""
				}
				return "half\nof it"
			}}
			var out, log bytes.Buffer
			code, ok := Program{Name: "p", Verbs: []Verb{v}}.Verb(Process{Args: []string{"read"}, Stdout: &out, Stderr: &log})
			if code != ExitOK || !ok || out.Len() > 0 || log.String() != c.want {
				t.Errorf("in %v: %d, %v, %q, %q", c.takes, code, ok, out.String(), log.String())
			}
		})
	}
}
