package loglevel

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for word, want := range map[string]struct {
		level  slog.Level
		number int
	}{
		"debug": {slog.LevelDebug, 1}, "Info": {slog.LevelInfo, 2}, "WARN": {slog.LevelWarn, 3}, "error": {slog.LevelError, 4}, "Fatal": {Fatal, 5},
	} {
		level, err := Parse(word)
		if level != want.level || err != nil || Number(word) != want.number {
			t.Errorf("%s is %v, %d; %v", word, level, Number(word), err)
		}
		var flag Flag
		if err := flag.Set(word); err != nil || slog.Level(flag) != want.level || flag.String() != strings.ToLower(word) {
			t.Errorf("as a flag %s is %v, %v", word, &flag, err)
		}
	}
	for _, word := range []string{"", "warning", "info+1", "loud", "1"} {
		flag := Flag(slog.LevelWarn)
		if err := flag.Set(word); !errors.Is(err, ErrUnknown) || slog.Level(flag) != slog.LevelWarn || Number(word) != 0 {
			t.Errorf("%q was taken: %v, %d", word, &flag, Number(word))
		}
	}
}
