package cmdkit

import (
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// FuzzResolve: whatever a flag, a variable and a file say, it is taken or refused on one line; what is unknown is told by its name
// with a known one, and never with its value.
func FuzzResolve(f *testing.F) {
	for _, s := range [][3]string{
		{"--size=5", "RELAY_SIZE=7", "size = 3"}, {"--sise=5", "RELAY_SISE=7", "sise = 3"}, {"-mode", "RELAY_CONFG=", "[x]\ny = 1"},
		{"--peer-address=", "RELAY_PEER_ADDRESS=,", "peers = [\"\"]"}, {"--share=0.5,", "RELAY_PORT=tcp://10.0.0.1:1", "shares = [1, 0.5]"},
		{"--\n", "0", ""}, {"--on=\n", "RELAY_=x", "\"\" = 1"}, {"--wait-time=-1s", "RELAY_WAIT_TIME=1", "wait_time = 9223372036854775807"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, flag, variable, text string) {
		var tree map[string]any
		if _, err := toml.Decode(text, &tree); err != nil {
			return
		}
		s := defaults()
		p := program(&s)
		r, err := p.Resolve([]string{flag, "--config=" + write(t, text)}, []string{variable})
		if err != nil {
			if strings.Contains(strings.ReplaceAll(err.Error(), flag, ""), "\n") {
				t.Errorf("more than a line: %q", err)
			}
			return
		}
		known := map[string]bool{"": true, "RELAY_CONFIG": true}
		for _, s := range p.Settings {
			known[s.key()], known[p.variable(s.Name)] = true, true
		}
		for _, u := range r.Unknown {
			_, isKey := tree[u.Name]
			name, _, _ := strings.Cut(variable, "=")
			if !known[u.Nearest] || known[u.Name] || u.Name != name && !isKey {
				t.Errorf("%+v", u)
			}
		}
	})
}
