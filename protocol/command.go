package protocol

import "bytes"

// MaxLineLength is the longest command line in bytes, its \n included; a longer one ends the connection.
const MaxLineLength = 16384

// Verb is a command's name.
type Verb uint8

// The commands. Invalid stands for every other name.
const (
	Invalid Verb = iota
	Identify
	Auth
	Sub
	Rdy
	Fin
	Req
	Touch
	Cls
	Nop
	Pub
	Mpub
	Dpub
)

var verbNames = [...]string{"", "IDENTIFY", "AUTH", "SUB", "RDY", "FIN", "REQ", "TOUCH", "CLS", "NOP", "PUB", "MPUB", "DPUB"}

// String returns the name as on the wire.
func (v Verb) String() string { return verbNames[v] }

// maxParams is how many parameters of a command are kept; no command reads more.
const maxParams = 2

// Command is one parsed line. Its byte slices are views of the line.
type Command struct {
	Verb   Verb
	Name   []byte            // the word as sent
	Count  int               // parameters sent, those beyond Params included
	Params [maxParams][]byte // the first ones
	Rest   []byte            // all behind the first parameter, see ParseWords
}

// ParseLine parses a command line without its \n. It never fails: an unknown or empty name is the verb Invalid.
func ParseLine(line []byte) Command {
	if k := len(line) - 1; k >= 0 && line[k] == '\r' {
		line = line[:k]
	}
	var c Command
	end := bytes.IndexByte(line, ' ')
	if end < 0 {
		c.Name = line
	} else {
		c.Name = line[:end]
		c.parseParams(line[end+1:])
	}
	c.Verb = parseVerb(c.Name)
	return c
}

func (c *Command) parseParams(rest []byte) {
	for {
		end := bytes.IndexByte(rest, ' ')
		word := rest
		if end >= 0 {
			word = rest[:end]
		}
		if c.Count < maxParams {
			c.Params[c.Count] = word
		}
		c.Count++
		if end < 0 {
			return
		}
		rest = rest[end+1:]
		if c.Count == 1 {
			c.Rest = rest
		}
	}
}

// parseVerb is a switch, which compares the length and then a word or two: most lines are a FIN or a PUB.
func parseVerb(name []byte) Verb {
	switch string(name) {
	case "IDENTIFY":
		return Identify
	case "AUTH":
		return Auth
	case "SUB":
		return Sub
	case "RDY":
		return Rdy
	case "FIN":
		return Fin
	case "REQ":
		return Req
	case "TOUCH":
		return Touch
	case "CLS":
		return Cls
	case "NOP":
		return Nop
	case "PUB":
		return Pub
	case "MPUB":
		return Mpub
	case "DPUB":
		return Dpub
	}
	return Invalid
}

// ParseNumber reads a decimal parameter: digits only; none at all is 0, and what is too large for 64 bits wraps, as in NSQ.
func ParseNumber(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
