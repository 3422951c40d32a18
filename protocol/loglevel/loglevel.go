package loglevel

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
)

// Fatal is the level of the one line that says why a process ends. Nothing that is logged while it runs is as high.
const Fatal = slog.LevelError + 4

// words are NSQ's, in the order of its numbers, which begin at 1. From one to the next slog's levels grow by 4.
var words = []string{"debug", "info", "warn", "error", "fatal"}

// ErrUnknown says which words there are.
var ErrUnknown = errors.New("must be debug, info, warn, error or fatal")

// Parse returns the level that a word names, in any case. Its error is ErrUnknown.
func Parse(word string) (slog.Level, error) {
	i := slices.Index(words, strings.ToLower(word))
	if i < 0 {
		return 0, ErrUnknown
	}
	return slog.LevelDebug + slog.Level(4*i), nil
}

// Number returns NSQ's number of a word, 1 for debug to 5 for fatal, and 0 for any other.
func Number(word string) int { return slices.Index(words, strings.ToLower(word)) + 1 }

// Flag is a level as a flag.Value.
type Flag slog.Level

// Set takes a word.
func (f *Flag) Set(word string) error {
	level, err := Parse(word)
	if err == nil {
		*f = Flag(level)
	}
	return err
}

// String returns the word, of a level between two that of the lower one.
func (f *Flag) String() string {
	i := (slog.Level(*f) - slog.LevelDebug) / 4
	return words[min(max(i, 0), slog.Level(len(words)-1))]
}
