package httpd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
)

// topicConfig is the options of one topic, as /topic/config shows them.
type topicConfig struct {
	Durability string `json:"durability"`
}

// topicOptions are what POST /topic/config can change, by their names in its body.
var topicOptions = map[string]func(t *topic.Topic, value json.RawMessage) error{
	"durability": setDurability,
}

// maxConfig is how many bytes of options are read.
const maxConfig = 64 << 10

func configOf(t *topic.Topic) topicConfig { return topicConfig{Durability: t.Durability().String()} }

func (a *api) getTopicConfig(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	t, err := a.existingTopic(req)
	if err != nil {
		return nil, err
	}
	return configOf(t), nil
}

// setTopicConfig changes the options that the body, a JSON object, names, and answers with all as they are then. When one of
// them cannot be nothing is changed.
func (a *api) setTopicConfig(w http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	t, err := a.existingTopic(req)
	if err != nil {
		return nil, err
	}
	s := a.scratch.Get().(*scratch)
	defer a.release(s)
	body, err := s.read(a.moving(w, req, s, maxConfig), maxConfig)
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxConfig:
		return nil, refuse(http.StatusRequestEntityTooLarge, "BODY_TOO_BIG")
	}
	values, err := parseOptions(body)
	if err != nil {
		return nil, invalidConfig(err)
	}
	for name, value := range values {
		if err := topicOptions[name](t, value); err != nil {
			return nil, a.notConfigured(req, fmt.Errorf("%s: %w", name, err))
		}
	}
	if t, err = a.existingTopic(req); err != nil { // another level may have made it anew
		return nil, err
	}
	return configOf(t), nil
}

// parseOptions returns what a body names, all of it known.
func parseOptions(body []byte) (values map[string]json.RawMessage, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&values); err != nil || values == nil {
		return nil, errors.New(`the body must be a JSON object such as {"durability":"fsync"}`)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body must be one JSON object and nothing behind it")
	}
	for name := range values {
		if topicOptions[name] == nil {
			return nil, fmt.Errorf("%q is no option of a topic; there is %s", name, knownOptions())
		}
	}
	return values, nil
}

func knownOptions() string {
	var names []string
	for name := range topicOptions {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// errValue is a value that an option cannot have.
var errValue = errors.New("bad value")

func setDurability(t *topic.Topic, value json.RawMessage) error {
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return fmt.Errorf("%w: must be one of the texts memory, disk and fsync", errValue)
	}
	level, err := topic.ParseLevel(text)
	if err != nil {
		return fmt.Errorf("%w: %w, not %q", errValue, err, text)
	}
	return t.SetDurability(level)
}

func invalidConfig(err error) error {
	return refuse(http.StatusBadRequest, "INVALID_CONFIG: "+err.Error())
}

// notConfigured returns the answer for an option that was not set.
func (a *api) notConfigured(req *http.Request, err error) error {
	switch {
	case errors.Is(err, errValue), errors.Is(err, topic.ErrEphemeral):
		return invalidConfig(err)
	case errors.Is(err, topic.ErrHolds):
		return invalidConfig(fmt.Errorf("%w; consume or empty them first", err))
	case errors.Is(err, topic.ErrNodeLog):
		return invalidConfig(fmt.Errorf("%w; start it with --durability=disk, or --topic-durability=PATTERN=disk", err))
	}
	return a.fail(req, err)
}
