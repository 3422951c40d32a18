package prototest

import (
	"bufio"
	"embed"
	"encoding/binary"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed testdata
var files embed.FS

// step is one line of a case.
type step struct {
	verb, text string
	only       string // the broker that it is for, "nsqd" or "brokerd"; empty for both
	line       int
}

// script is one case.
type script struct {
	name        string
	bare, plain bool
	differs     string // the name of the difference between nsqd and brokerd that it shows; empty when they say the same
	steps       []step
}

// verbs are the steps, and whether a text must follow them.
var verbs = map[string]bool{
	">": true, ">+": true, "<": true, "<!": true, "<m": true, "<raw": true, "<file": true, "conn": true,
	"eof": false, "closed": false, "alive": false, "<json": false, "http": true, "=": true, "=header": true, "await": true,
}

// parseScripts reads a script file.
func parseScripts(text string) ([]script, error) {
	var list []script
	var cur *script
	scanner := bufio.NewScanner(strings.NewReader(text))
	for n := 1; scanner.Scan(); n++ {
		line := scanner.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "== "); ok {
			list = append(list, script{name: name})
			cur = &list[len(list)-1]
			continue
		}
		if cur == nil {
			return nil, fmt.Errorf("line %d: a step before the first case", n)
		}
		if err := cur.add(line, n); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return list, scanner.Err()
}

func (s *script) add(line string, n int) error {
	switch {
	case line == "bare" && len(s.steps) == 0:
		s.bare = true
		return nil
	case line == "plain" && len(s.steps) == 0:
		s.plain = true
		return nil
	}
	if name, ok := strings.CutPrefix(line, "differs "); ok && len(s.steps) == 0 {
		s.differs = name
		return nil
	}
	var only string
	for _, broker := range []string{"nsqd", "brokerd"} {
		if rest, ok := strings.CutPrefix(line, broker+"| "); ok {
			only, line = broker, rest
		}
	}
	if only != "" && s.differs == "" {
		return fmt.Errorf("%q is for %s alone, but the case does not name the difference", line, only)
	}
	verb, text, ok := strings.Cut(line, " ")
	if need, known := verbs[verb]; !known || need != ok {
		return fmt.Errorf("%q is no step", line)
	}
	s.steps = append(s.steps, step{verb, text, only, n})
	return nil
}

var placeholder = regexp.MustCompile(`\$\{[^}]*\}|\\x[0-9a-f]{2}|\\.`)

// expand replaces escapes and placeholders; words holds those that have a name.
func expand(text string, words map[string]string) (string, error) {
	var failed error
	out := placeholder.ReplaceAllStringFunc(text, func(found string) string {
		s, err := expandOne(found, words)
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", found, err)
		}
		return s
	})
	return out, failed
}

func expandOne(found string, words map[string]string) (string, error) {
	if found[0] == '\\' {
		s, err := strconv.Unquote(`"` + found + `"`)
		return s, err
	}
	word := found[2 : len(found)-1]
	if s, ok := words[word]; ok {
		return s, nil
	}
	if number, ok := strings.CutPrefix(word, "i32:"); ok {
		n, err := strconv.ParseInt(number, 10, 32)
		return string(binary.BigEndian.AppendUint32(nil, uint32(n))), err
	}
	if letter, number, ok := strings.Cut(word, "*"); ok {
		n, err := strconv.Atoi(number)
		if err != nil {
			return "", err
		}
		return strings.Repeat(letter, n), nil
	}
	return "", fmt.Errorf("unknown word")
}

// Differences returns the names of the differences between nsqd and brokerd that the scripts show, each once and sorted.
func Differences() ([]string, error) {
	scripts, err := all()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, s := range scripts {
		if s.differs != "" {
			names[s.differs] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// all returns the cases of every script file.
func all() ([]script, error) {
	entries, err := files.ReadDir("testdata")
	if err != nil {
		return nil, err
	}
	var scripts []script
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".txt") {
			continue
		}
		text, err := files.ReadFile("testdata/" + e.Name())
		if err != nil {
			return nil, err
		}
		list, err := parseScripts(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		scripts = append(scripts, list...)
	}
	return scripts, nil
}

// Seeds returns what the clients of all scripts say, for fuzz targets to begin with: each the bytes of one case behind the
// magic, those of several connections put together.
func Seeds() ([]string, error) {
	scripts, err := all()
	if err != nil {
		return nil, err
	}
	var seeds []string
	for _, one := range scripts {
		said, err := one.said()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
		if said != "" {
			seeds = append(seeds, said)
		}
	}
	return seeds, nil
}

// said returns what the clients of a case say, with names and an id that are made up.
func (s *script) said() (string, error) {
	words := map[string]string{"topic": "topic", "topic2": "topic2", "id": "0123456789abcdef"}
	var b strings.Builder
	for _, st := range s.steps {
		if st.verb != ">" && st.verb != ">+" {
			continue
		}
		text, err := expand(st.text, words)
		if err != nil {
			return "", err
		}
		if st.verb == ">+" {
			text = Body(text)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}
