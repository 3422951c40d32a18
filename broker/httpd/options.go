package httpd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// maxConfig is how many bytes of options are read.
const maxConfig = 64 << 10

// optionsOf returns options as they are shown.
func optionsOf(values map[string]policy.Value) httpapi.Options {
	shown := httpapi.Options{Options: make(map[string]httpapi.OptionValue, len(values))}
	for name, v := range values {
		shown.Options[name] = httpapi.OptionValue{Value: v.Value, Source: string(v.Source), Pattern: v.Pattern, Off: v.Off, Default: v.Default,
			Allowed: v.Allowed, Help: v.Help}
	}
	return shown
}

func topicConfig(t *topic.Topic) httpapi.Options {
	shown := optionsOf(t.Options())
	shown.Durability = t.Durability().String()
	for _, c := range t.Channels() {
		if set := c.OptionsSet(); len(set) > 0 {
			if shown.Channels == nil {
				shown.Channels = map[string]map[string]any{}
			}
			shown.Channels[c.Name()] = set
		}
	}
	return shown
}

func (a *api) getTopicConfig(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	t, err := a.existingTopic(req)
	if err != nil {
		return nil, err
	}
	return topicConfig(t), nil
}

// setTopicConfig changes the options that the body, a JSON object, names, and answers with all as they are then. When one of
// them cannot be nothing is changed.
func (a *api) setTopicConfig(w http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	t, err := a.existingTopic(req)
	if err != nil {
		return nil, err
	}
	values, err := a.optionsIn(w, req)
	if err != nil {
		return nil, err
	}
	if err := t.SetOptions(values); err != nil {
		return nil, a.notConfigured(req, err)
	}
	if t, err = a.existingTopic(req); err != nil { // another level may have made it anew
		return nil, err
	}
	return topicConfig(t), nil
}

func (a *api) getChannelConfig(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	c, err := a.existingChannel(req)
	if err != nil {
		return nil, err
	}
	return optionsOf(c.Options()), nil
}

// setChannelConfig is setTopicConfig for a channel.
func (a *api) setChannelConfig(w http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	c, err := a.existingChannel(req)
	if err != nil {
		return nil, err
	}
	values, err := a.optionsIn(w, req)
	if err != nil {
		return nil, err
	}
	if err := c.SetOptions(values); err != nil {
		return nil, a.notConfigured(req, err)
	}
	return optionsOf(c.Options()), nil
}

// optionsIn returns what the body of a request names.
func (a *api) optionsIn(w http.ResponseWriter, req *http.Request) (map[string]json.RawMessage, error) {
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
	return values, nil
}

// parseOptions returns what a body names.
func parseOptions(body []byte) (values map[string]json.RawMessage, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&values); err != nil || values == nil {
		return nil, errors.New(`the body must be a JSON object such as {"durability":"fsync"}`)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body must be one JSON object and nothing behind it")
	}
	return values, nil
}

func invalidConfig(err error) error {
	return refuse(http.StatusBadRequest, "INVALID_CONFIG: "+err.Error())
}

// notConfigured returns the answer for options that were not set.
func (a *api) notConfigured(req *http.Request, err error) error {
	var bad *policy.Error
	switch {
	case errors.Is(err, topic.ErrReplicated):
		return ofReplicated(err)
	case errors.As(err, &bad), errors.Is(err, topic.ErrEphemeral), errors.Is(err, topic.ErrUnpromised):
		return invalidConfig(err)
	case errors.Is(err, topic.ErrHolds):
		return invalidConfig(fmt.Errorf("%w; consume or empty them first", err))
	case errors.Is(err, topic.ErrNodeLog):
		return invalidConfig(fmt.Errorf("%w; start it with --durability=disk, or --topic-durability=PATTERN=disk", err))
	}
	return a.fail(req, err)
}
