package standard

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/apps/internal/bench/load"
	"brokerd/cmd/cmdtest"
)

func TestMain(m *testing.M) { cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd") }

// Every scenario is a load that can be run, and has a name of its own.
func TestScenariosAreSound(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range scenarios {
		if err := c.spec.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if names[c.name] || len(c.levels) == 0 || c.what == "" {
			t.Errorf("%+v", c)
		}
		names[c.name] = true
	}
}

func TestChoose(t *testing.T) {
	if list, err := choose(nil); err != nil || len(list) != len(scenarios) {
		t.Errorf("%d of %d scenarios without a word, error %v", len(list), len(scenarios), err)
	}
	if list, err := choose([]string{"sub", "cost"}); err != nil || len(list) != 4 || list[0].name != "sub" {
		t.Errorf("chose %+v, error %v", list, err)
	}
	if _, err := choose([]string{"pub", "fly"}); err == nil || !strings.Contains(err.Error(), "fan4-backlog") {
		t.Errorf("error %v, wanted one that names what there is", err)
	}
}

func TestVariantsTakeTurns(t *testing.T) {
	s := &sitting{peer: "nsqd"}
	c := scenario{levels: []string{memory, disk}, peer: true}
	for round, want := range []string{"memory disk peer", "peer disk memory", "memory disk peer"} {
		if got := strings.Join(s.variants(c, round), " "); got != want {
			t.Errorf("round %d: %s, wanted %s", round, got, want)
		}
	}
}

func TestBetween(t *testing.T) {
	page := "above\n" + beginMarker + "\nold\n" + endMarker + "\nbelow\n"
	got, err := between(page, "new\n")
	if want := "above\n" + beginMarker + "\nnew\n" + endMarker + "\nbelow\n"; err != nil || got != want {
		t.Errorf("%q, error %v", got, err)
	}
	for _, page := range []string{"", beginMarker, endMarker + beginMarker} {
		if _, err := between(page, "new"); !errors.Is(err, errNoMarkers) {
			t.Errorf("error %v for the page %q", err, page)
		}
	}
}

// A sitting that ended goes on where it was, but not with other versions.
func TestASittingIsContinued(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results")
	first := &sitting{Ours: "one", Machine: "this", file: file, Results: map[string]*outcome{
		"small": {Ours: map[string][]*load.Result{disk: {{PerSecond: 7}}}}}}
	if err := first.keep(); err != nil {
		t.Fatal(err)
	}
	second := &sitting{Ours: "one", file: file}
	if err := second.resume(); err != nil {
		t.Fatal(err)
	}
	c := scenario{name: "small"}
	if !second.has(c, disk, 0) || second.has(c, disk, 1) || second.has(c, memory, 0) || second.has(c, onPeer, 0) {
		t.Errorf("resumed with %+v", second.Results["small"])
	}
	other := &sitting{Ours: "two", file: file}
	if err := other.resume(); err == nil || !strings.Contains(err.Error(), "two") {
		t.Errorf("error %v, wanted one about the versions", err)
	}
	fresh := &sitting{file: file + "-not-there"}
	if err := fresh.resume(); err != nil {
		t.Error(err)
	}
}

// A sitting on a real broker, with one for the peer, gives a table with both; what cannot be run is told.
func TestASitting(t *testing.T) {
	binary := cmdtest.Find(t, "brokerd")
	dir := t.TempDir()
	s := &sitting{ours: binary, peer: binary, dir: dir, Ours: "one", Peer: "two", Machine: "this", Rounds: 2,
		Results: make(map[string]*outcome)}
	list := []scenario{
		{name: "small", what: "a few messages", group: speed, levels: []string{memory, disk}, peer: true,
			spec: spec(load.EndToEnd, func(s *load.Spec) { s.Messages, s.Consumers, s.Patience = 1000, 4, cmdtest.Patience })},
		{name: "still", what: "a few topics", group: cost, levels: []string{disk}, once: true,
			spec: spec(load.Topics, func(s *load.Spec) { s.Topics, s.Duration = 10, time.Millisecond })},
		{name: "grown", what: "a few more", group: growth, levels: []string{disk}, once: true,
			spec: spec(load.Subscribe, func(s *load.Spec) { s.Messages, s.Take, s.Patience = 1000, 100, cmdtest.Patience })},
	}
	if err := s.run(t.Context(), list, s.Rounds, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if o := s.Results["small"]; len(o.Ours[memory]) != 2 || len(o.Ours[disk]) != 2 || len(o.Peer) != 2 || o.Problems != nil {
		t.Errorf("results of small: %+v", o)
	}
	if o := s.Results["still"]; len(o.Ours[disk]) != 1 || o.Peer != nil {
		t.Errorf("results of still: %+v", o)
	}
	text := s.tables(list)
	for _, want := range []string{"with one beside two", "Machine: this.", "`small` a few messages | memory |", "`still`", "`grown`",
		"### Speed", "x |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "went wrong") {
		t.Errorf("something went wrong:\n%s", text)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d folders are left behind, error %v", len(left), err)
	}
}

func TestABrokerThatDoesNotStartIsTold(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "broken")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho no luck; exit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := start(context.Background(), binary, dir, nil)
	if err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("error %v, wanted its last words", err)
	}
}

func TestDescribeMachine(t *testing.T) {
	text := describeMachine(t.TempDir())
	if !strings.Contains(text, "cores") || !strings.Contains(text, "syncs of 4 KiB a second") {
		t.Errorf("the machine is described as %q", text)
	}
}
