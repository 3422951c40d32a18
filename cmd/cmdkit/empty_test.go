package cmdkit

import (
	"reflect"
	"testing"
)

// TestEmptyValuesMeanUnset: a setting of each kind is given an empty value from each source, as compose, Kubernetes and
// shell scripts do with a variable that is not set. What a weaker source says counts then, or the default.
func TestEmptyValuesMeanUnset(t *testing.T) {
	env := map[string]string{"RELAY_CONFIG": ""}
	var flags []string
	emptyFile, file := "", "tcp_address = \"file:1\"\npeers = [\"file:1\"]\nwait_time = \"3s\"\nsize = 30\ncount = 30\non = true\nmode = \"half\"\nshares = [1.0]\n"
	for _, s := range program(new(settings)).Settings {
		env[program(new(settings)).variable(s.Name)] = ""
		emptyFile += s.key() + " = \"\"\n"
		flags = append(flags, "--"+s.Name+"=")
	}
	fromFile := settings{Address: "file:1", Peers: []string{"file:1"}, Wait: 3e9, Size: 30, Count: 30, On: true, Mode: "half", Shares: shares{1}}
	for _, c := range []struct {
		name  string
		flags []string
		env   map[string]string
		toml  string
		want  settings
	}{
		{"flags", flags, nil, "", defaults()},
		{"environment", nil, env, "", defaults()},
		{"file", nil, nil, emptyFile, defaults()},
		{"lists of nothing in the file", nil, nil, "peers = []\nshares = [\"\"]", defaults()},
		{"a list of commas", []string{"--peer-address=", "--peer-address", ""}, map[string]string{"RELAY_PEER_ADDRESS": " , ,"}, "", defaults()},
		{"all", flags, env, emptyFile, defaults()},
		{"flags and environment over a file", flags, env, file, fromFile},
		{"an empty one among several", []string{"--peer-address=a:1", "--peer-address=", "--size=3", "--size="}, nil, "",
			func() settings { s := defaults(); s.Peers, s.Size = []string{"a:1"}, 3; return s }()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r, err := resolve(t, c.flags, c.env, c.toml)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v\nerror %v", got, c.want, err)
			}
			if len(r.Unknown) > 0 {
				t.Errorf("unknown: %v", r.Unknown)
			}
		})
	}
}

// TestEmptyCountsWhereItSaysSomething: "no HTTP" is said with an empty address, by a flag or in the file; the environment
// cannot say it.
func TestEmptyCountsWhereItSaysSomething(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		env   map[string]string
		toml  string
		want  string
	}{
		{"flag", []string{"--http-address="}, map[string]string{"RELAY_HTTP_ADDRESS": "env:1"}, "http_address = \"file:1\"", ""},
		{"environment", nil, map[string]string{"RELAY_HTTP_ADDRESS": ""}, "http_address = \"file:1\"", "file:1"},
		{"file", nil, map[string]string{"RELAY_HTTP_ADDRESS": ""}, "http_address = \"\"", ""},
		{"nothing", nil, map[string]string{"RELAY_HTTP_ADDRESS": ""}, "", "default:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.toml != "" {
				c.flags = append(c.flags, "--config="+write(t, c.toml))
			}
			got := "default:1"
			p := Program{Name: "relay", Settings: []Setting{{Name: "http-address", Value: &got, EmptyCounts: true}}}
			if _, err := p.Resolve(c.flags, environ(c.env)); err != nil || got != c.want {
				t.Errorf("got %q, want %q, error %v", got, c.want, err)
			}
		})
	}
}
