package prototest

import (
	"net"
	"path"
	"strings"
	"testing"

	"brokerd/cmd/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestScriptsAreWhole keeps a typing error from leaving a case out, or two cases from sharing a name.
func TestScriptsAreWhole(t *testing.T) {
	entries, err := files.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, e := range entries {
		if path.Ext(e.Name()) != ".txt" {
			continue
		}
		names := map[string]bool{}
		for _, s := range load(t, e.Name()) {
			cases++
			if names[s.name] || len(s.steps) < 2 {
				t.Errorf("%s: case %q comes twice or has fewer than two steps", e.Name(), s.name)
			}
			names[s.name] = true
			for _, st := range s.steps {
				if _, err := expand(st.text, map[string]string{"topic": "t", "topic2": "u", "id": "i"}); err != nil {
					t.Errorf("%s:%d: %v", e.Name(), st.line, err)
				}
			}
		}
	}
	if cases < 200 {
		t.Errorf("%d cases", cases)
	}
}

func TestParseScriptsRefuses(t *testing.T) {
	for _, text := range []string{"> NOP\\n", "== a\nsend NOP", "== a\n>NOP", "== a\neof now", "== a\n>", "== a\n> NOP\nbare"} {
		if list, err := parseScripts(text); err == nil {
			t.Errorf("%q was taken as %+v", text, list)
		}
	}
}

func TestExpand(t *testing.T) {
	words := map[string]string{"id": "0123"}
	for text, want := range map[string]string{
		`a\n\r\\\x00b`:      "a\n\r\\\x00b",
		`${i32:-1}${i32:5}`: "\xff\xff\xff\xff\x00\x00\x00\x05",
		`FIN ${id}\n`:       "FIN 0123\n",
		`${x*3}{"a":1}`:     `xxx{"a":1}`,
	} {
		if got, err := expand(text, words); got != want || err != nil {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{`\q`, `${none}`, `${i32:x}`, `${x*y}`} {
		if got, err := expand(text, words); err == nil {
			t.Errorf("%s was taken as %q", text, got)
		}
	}
}

// TestReadRefuses: what is no frame is an error, not a frame.
func TestReadRefuses(t *testing.T) {
	for _, bytes := range []string{
		I32(3) + I32(0), I32(-1) + I32(0), I32(maxFrame+1) + I32(0), I32(6) + I32(3) + "OK", I32(6) + I32(-1) + "OK",
		I32(29) + I32(Message) + strings.Repeat("x", 25), I32(6) + I32(0) + "O",
	} {
		client, broker := net.Pipe()
		go func() {
			defer broker.Close()
			_, _ = broker.Write([]byte(bytes))
		}()
		if f, err := NewClient(t, client).ReadAny(); err == nil {
			t.Errorf("%q was taken as %v", bytes, f)
		}
		client.Close()
	}
}
