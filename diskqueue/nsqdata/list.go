package nsqdata

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"brokerd/protocol"
)

// Files are those of one disk queue.
type Files struct {
	Name           string // of the queue
	Topic, Channel string // whose it is by its name; Channel is empty for a topic's own
	Meta           bool   // there is a meta file
	First, Last    int64  // lowest and highest number of a data file; Last is -1 when there is none
}

// Valid reports whether there can be a topic, and a channel, of these names.
func (f Files) Valid() bool {
	return protocol.ValidName(f.Topic) && (f.Name == f.Topic || protocol.ValidName(f.Channel))
}

// Ephemeral reports whether the topic or the channel is.
func (f Files) Ephemeral() bool {
	return protocol.IsEphemeral(f.Topic) || protocol.IsEphemeral(f.Channel)
}

// Useless reports whether neither an nsqd nor a broker makes such files, nor reads them: what is ephemeral has no disk. A channel with another name has one,
// also of an ephemeral topic.
func (f Files) Useless() bool {
	if f.Name == f.Topic {
		return protocol.IsEphemeral(f.Topic)
	}
	return protocol.IsEphemeral(f.Channel)
}

// List returns the disk queues of which there are files in dir, by name, whoever knows of them; and the names of files that a
// crash has left half-written, which nobody reads.
func List(dir string) (queues []Files, halfWritten []string, err error) {
	entries, err := os.ReadDir(folder(dir))
	if err != nil {
		return nil, nil, fmt.Errorf("failed to look for disk queues: %w", err)
	}
	at := map[string]int{}
	for _, entry := range entries {
		name, number, ok := queueOf(entry.Name())
		if !ok {
			if temporary(entry.Name()) {
				halfWritten = append(halfWritten, entry.Name())
			}
			continue
		}
		i, seen := at[name]
		if !seen {
			i = len(queues)
			at[name] = i
			queues = append(queues, Files{Name: name, Last: -1})
			queues[i].Topic, queues[i].Channel, _ = strings.Cut(name, ChannelQueueName("", ""))
		}
		f := &queues[i]
		switch {
		case number < 0:
			f.Meta = true
		case f.Last < 0:
			f.First, f.Last = number, number
		default:
			f.First, f.Last = min(f.First, number), max(f.Last, number)
		}
	}
	slices.SortFunc(queues, func(a, b Files) int { return strings.Compare(a.Name, b.Name) })
	return queues, halfWritten, nil
}

// temporary reports whether a file is one that is written beside nsqd.dat, the id bound or a meta file before it takes its place.
func temporary(file string) bool {
	of := func(name string) bool { return strings.HasPrefix(file, name+".") }
	return strings.HasSuffix(file, ".tmp") && (of(MetadataFile) || of(IDsFile) || strings.Contains(file, ".diskqueue.meta.dat."))
}

// queueOf returns the queue that a file is of, and its number, -1 for the meta file.
func queueOf(file string) (queue string, number int64, ok bool) {
	rest, ok := strings.CutSuffix(file, ".dat")
	if !ok {
		return "", 0, false
	}
	i := strings.LastIndex(rest, ".diskqueue.")
	if i <= 0 {
		return "", 0, false
	}
	queue, part := rest[:i], rest[i+len(".diskqueue."):]
	if part == "meta" {
		return queue, -1, true
	}
	number, ok = dataNumber(part)
	return queue, number, ok
}

// dataNumber parses the number in a data file's name.
func dataNumber(text string) (number int64, ok bool) {
	number, err := strconv.ParseInt(text, 10, 32)
	return number, err == nil && number >= 0 && len(text) >= 6
}

// Unread returns how many bytes of a queue are not read yet, lengths included, as its meta file and data files say. It changes
// nothing. The queue must not be open.
func Unread(dir, name string) (bytes int64, err error) {
	s := newScanner(dir, name, nil)
	e, ok, err := s.extent()
	if err != nil || !ok {
		return 0, err
	}
	return s.unread(e), nil
}

// Headless reports whether a queue has lost its meta file when its first data files had been read already and were removed. NSQ
// would begin to write at file 0, and one day over those that are there: Rebuild makes a meta file.
func (f Files) Headless() bool { return !f.Meta && f.Last >= 0 && f.First > 0 }

// Rebuild writes the meta file of a queue that has none anew, so that all that its data files hold is read.
func Rebuild(dir, name string, logf LogFunc) error {
	r := newScanner(dir, name, nil).repairer
	r.logf = logf
	if _, _, err := r.rebuild("its meta file is missing"); err != nil {
		return fmt.Errorf("failed to write the meta file of disk queue %s: %w", name, err)
	}
	return nil
}
