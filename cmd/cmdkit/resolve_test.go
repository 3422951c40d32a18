package cmdkit

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// settings is one variable of every kind.
type settings struct {
	Address string
	Wait    time.Duration
	Size    int64
	Count   int
	On      bool
	Peers   []string
	Mode    mode
	Shares  shares
}

// mode is a flag that may stand bare.
type mode string

func (m *mode) String() string   { return string(*m) }
func (m *mode) IsBoolFlag() bool { return true }
func (m *mode) Set(text string) error {
	if text != "true" && text != "false" && text != "half" {
		return errors.New("must be true, false or half")
	}
	*m = mode(text)
	return nil
}

// shares is a list of numbers.
type shares []float64

func (s *shares) String() string { return "" }
func (s *shares) Reset()         { *s = nil }
func (s *shares) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return errors.New("must be numbers")
		}
		*s = append(*s, v)
	}
	return nil
}

func defaults() settings {
	return settings{Address: "0.0.0.0:1", Wait: time.Minute, Size: 10, Count: 2, Peers: []string{"default:1"}, Mode: "false"}
}

func program(s *settings) Program {
	return Program{Name: "relay", About: "a test", Version: "1.2.3", Settings: []Setting{
		{Name: "tcp-address", Group: "Addresses", Help: "where to listen", Value: &s.Address},
		{Name: "peer-address", Key: "peers", Group: "Addresses", Help: "a peer", Value: &s.Peers},
		{Name: "wait-time", Group: "Limits", Help: "how long", Value: &s.Wait},
		{Name: "size", Group: "Limits", Help: "bytes", Value: &s.Size},
		{Name: "count", Group: "Limits", Help: "how many", Value: &s.Count},
		{Name: "on", Group: "Limits", Help: "whether", Value: &s.On},
		{Name: "mode", Group: "Limits", Help: "which way", Value: &s.Mode},
		{Name: "share", Key: "shares", Group: "Limits", Help: "parts", Value: &s.Shares},
	}}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "relay.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func environ(env map[string]string) []string {
	var list []string
	for name, text := range env {
		list = append(list, name+"="+text)
	}
	return list
}

// resolve runs one resolution over the defaults.
func resolve(t *testing.T, args []string, env map[string]string, toml string) (settings, Resolved, error) {
	t.Helper()
	if toml != "" {
		args = append(args, "--config="+write(t, toml))
	}
	s := defaults()
	r, err := program(&s).Resolve(args, environ(env))
	return s, r, err
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	args := []string{"-wait-time", "1s", "--peer-address=flag:1", "-peer-address=flag:2"}
	env := map[string]string{
		"RELAY_WAIT_TIME": "2s", "RELAY_SIZE": "20", "RELAY_PEER_ADDRESS": "env:1", "RELAY_SHARE": "0.5, 0.25",
	}
	got, _, err := resolve(t, args, env, `
		wait_time = "3s"
		size = 30
		count = 30
		peers = ["file:1", "file:2", "file:3"]
		shares = [1.0]
	`)
	if err != nil {
		t.Fatal(err)
	}
	want := settings{Address: "0.0.0.0:1", Wait: time.Second, Size: 20, Count: 30, Mode: "false",
		Peers: []string{"flag:1", "flag:2"}, Shares: shares{0.5, 0.25}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestForms(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		toml string
		want func(*settings)
	}{
		{name: "nothing", want: func(*settings) {}},
		{name: "file: duration as text", toml: `wait_time = "90s"`, want: func(s *settings) { s.Wait = 90 * time.Second }},
		{name: "file: duration in milliseconds", toml: `wait_time = 1500`, want: func(s *settings) { s.Wait = 1500 * time.Millisecond }},
		{name: "file: list as array", toml: `peers = ["a:1", "b:2"]`, want: func(s *settings) { s.Peers = []string{"a:1", "b:2"} }},
		{name: "file: list as text", toml: `peers = "a:1, b:2"`, want: func(s *settings) { s.Peers = []string{"a:1", "b:2"} }},
		{name: "file: numbers as text", toml: "size = \"7\"\ncount = \"8\"", want: func(s *settings) { s.Size, s.Count = 7, 8 }},
		{name: "file: boolean", toml: `on = true`, want: func(s *settings) { s.On = true }},
		{name: "file: boolean as text", toml: `on = "true"`, want: func(s *settings) { s.On = true }},
		{name: "file: boolean or word, boolean", toml: `mode = true`, want: func(s *settings) { s.Mode = "true" }},
		{name: "file: boolean or word, word", toml: `mode = "half"`, want: func(s *settings) { s.Mode = "half" }},
		{name: "file: array of floats and integers", toml: `shares = [0.5, 1]`, want: func(s *settings) { s.Shares = shares{0.5, 1} }},
		{name: "file: numbers in one text", toml: `shares = "0.5,1"`, want: func(s *settings) { s.Shares = shares{0.5, 1} }},
		{name: "file: unknown keys and tables", toml: "other = 1\n[more]\nsize = 3", want: func(*settings) {}},
		{name: "flag: bare booleans", args: []string{"--on", "-mode"}, want: func(s *settings) { s.On, s.Mode = true, "true" }},
		{name: "flag: boolean with value", args: []string{"--on=false", "--mode=half"}, want: func(s *settings) { s.Mode = "half" }},
		{name: "flag: last one wins", args: []string{"--size=1", "--size=2"}, want: func(s *settings) { s.Size = 2 }},
		{name: "flag: numbers repeated and comma-separated", args: []string{"--share=1,2", "--share", "3"},
			want: func(s *settings) { s.Shares = shares{1, 2, 3} }},
		{name: "flag: a list's element is not split", args: []string{"--peer-address=a,b"},
			want: func(s *settings) { s.Peers = []string{"a,b"} }},
		{name: "flag: without effect", args: []string{"--verbose", "-worker-id", "--version=false"}, want: func(*settings) {}},
		{name: "environment: list", env: map[string]string{"RELAY_PEER_ADDRESS": "a:1,b:2"},
			want: func(s *settings) { s.Peers = []string{"a:1", "b:2"} }},
		{name: "environment: other names", env: map[string]string{"RELAY_OTHER": "1", "SIZE": "3"}, want: func(*settings) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := resolve(t, c.args, c.env, c.toml)
			want := defaults()
			c.want(&want)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v\nerror %v", got, want, err)
			}
		})
	}
}

func TestFileFromTheEnvironment(t *testing.T) {
	s := defaults()
	env := map[string]string{"RELAY_CONFIG": write(t, "size = 5")}
	for _, args := range [][]string{nil, {"--config="}} {
		r, err := program(&s).Resolve(args, environ(env))
		if err != nil || s.Size != 5 || r.File != env["RELAY_CONFIG"] {
			t.Errorf("%+v, %+v, %v", s, r, err)
		}
	}
}

// Each refusal is one line that names the flag, what is allowed, the value and where it came from. FILE stands for the
// path of the file.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		args []string
		env  map[string]string
		toml string
		want string
	}{
		{args: []string{"--wait-time=soon"},
			want: `--wait-time must be a duration such as 250ms, 60s or 1h30m, not "soon" (from the flag)`},
		{args: []string{"--wait-time=60"},
			want: `--wait-time must be a duration such as 250ms, 60s or 1h30m, not "60" (from the flag)`},
		{env: map[string]string{"RELAY_SIZE": "1.5"},
			want: `--size must be a whole number, not "1.5" (from the environment variable RELAY_SIZE)`},
		{env: map[string]string{"RELAY_ON": "yes"},
			want: `--on must be true or false, not "yes" (from the environment variable RELAY_ON)`},
		{toml: `count = "many"`, want: `--count must be a whole number, not "many" (from the key count of FILE)`},
		{toml: `shares = [0.5, "x"]`, want: `--share must be numbers, not "x" (from the key shares of FILE)`},
		{toml: `mode = "full"`, want: `--mode must be true, false or half, not "full" (from the key mode of FILE)`},
		{toml: `tcp_address = 4150`, want: `--tcp-address must be text in quotes, not 4150 (from the key tcp_address of FILE)`},
		{toml: `peers = [1]`, want: `--peer-address must be text in quotes, not 1 (from the key peers of FILE)`},
		{toml: `size = [1, 2]`, want: `--size must be one value, not a list (from the key size of FILE)`},
		{toml: `size = {a = 1}`, want: `--size must be a single value, not map[a:1] (from the key size of FILE)`},
		{toml: `wait_time = 9223372036854775807`,
			want: `--wait-time must be at most 292 years in milliseconds, not 9223372036854775807 (from the key wait_time of FILE)`},
		{args: []string{"--sizes=1"}, want: `flag provided but not defined: -sizes (did you mean --size?): see relay --help`},
		{args: []string{"--peers=a:1"}, want: `flag provided but not defined: -peers (did you mean --peer-address?): see relay --help`},
		{args: []string{"-confg", "f"}, want: `flag provided but not defined: -confg (did you mean --config?): see relay --help`},
		{args: []string{"--anything"}, want: `flag provided but not defined: -anything: see relay --help`},
		{args: []string{"--any\nthing"}, want: `flag provided but not defined: -any\nthing: see relay --help`},
		{args: []string{"--size"}, want: `flag needs an argument: -size: see relay --help`},
		{args: []string{"--on", "false"}, want: `"false" is not a flag: values are given as --flag=value, see relay --help`},
	} {
		_, r, err := resolve(t, c.args, c.env, c.toml)
		if err == nil {
			t.Errorf("no error, want %s", c.want)
			continue
		}
		got := err.Error()
		if r.File != "" {
			got = strings.ReplaceAll(got, r.File, "FILE")
		}
		if got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none.toml"), write(t, "a = \n")} {
		s := defaults()
		_, err := program(&s).Resolve([]string{"--config", path}, nil)
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "--config must be a readable TOML file, not ") {
			t.Errorf("got %v", err)
		}
	}
}

func TestLocateNamesTheSourceOfALaterRefusal(t *testing.T) {
	_, r, err := resolve(t, []string{"--count=5"}, map[string]string{"RELAY_SIZE": "4"}, "")
	if err != nil {
		t.Fatal(err)
	}
	tooBig := errors.New("too big")
	for name, want := range map[string]string{
		"count": "too big (from the flag)", "size": "too big (from the environment variable RELAY_SIZE)", "wait-time": "too big",
	} {
		if got := r.Locate(name, tooBig); got.Error() != want || !errors.Is(got, tooBig) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}
