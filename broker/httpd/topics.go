package httpd

import (
	"errors"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// topicArg returns the arguments and the one that names a topic; the name is not checked.
func topicArg(req *http.Request) (q httpapi.Query, name string, err error) {
	if q, err = httpapi.ParseQuery(req); err != nil {
		return q, "", err
	}
	name, ok := q.Lookup("topic")
	if !ok {
		return q, "", refuse(http.StatusBadRequest, "MISSING_ARG_TOPIC")
	}
	return q, name, nil
}

// existingTopic returns the topic that the arguments name.
func (a *api) existingTopic(req *http.Request) (*topic.Topic, error) {
	_, name, err := topicArg(req)
	if err != nil {
		return nil, err
	}
	return a.lookupTopic(name)
}

func (a *api) lookupTopic(name string) (*topic.Topic, error) {
	t := a.cfg.Broker.Registry().Lookup(name)
	switch {
	case t != nil:
		return t, nil
	case a.replicated(name):
		return nil, notLeader(topic.ErrElsewhere)
	}
	return nil, refuse(http.StatusNotFound, "TOPIC_NOT_FOUND")
}

func (a *api) createTopic(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	q, name, err := topicArg(req)
	if err != nil {
		return nil, err
	}
	if !protocol.ValidName(name) {
		return nil, refuse(http.StatusBadRequest, "INVALID_TOPIC")
	}
	switch n, said := q.Lookup("replicas"); {
	case said && n != "1":
		return nil, a.createReplicated(req, q, name, n)
	case a.cfg.Cluster != nil && a.cfg.Cluster.Deleting(name):
		return nil, refuse(http.StatusConflict, "REFUSED: topic "+name+" is being deleted: make it once that is done")
	case said && a.replicated(name):
		return nil, refuse(http.StatusConflict, "REFUSED: the topic is there, with 3 replicas")
	}
	if a.elsewhere(name) {
		return nil, nil // it is there
	}
	if _, err := a.cfg.Broker.Registry().Topic(name); err != nil {
		return nil, a.fail(req, err)
	}
	return nil, nil
}

func (a *api) deleteTopic(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	_, name, err := topicArg(req)
	if err != nil {
		return nil, err
	}
	if a.replicated(name) {
		return nil, clusterFailed(a.cfg.Cluster.DeleteTopic(req.Context(), name))
	}
	err = a.cfg.Broker.Registry().DeleteTopic(name)
	switch {
	case errors.Is(err, topic.ErrTopicNotFound) && a.cfg.Cluster != nil && a.cfg.Cluster.DeletedLately(name):
		return nil, nil // by another broker that was asked the same
	case errors.Is(err, topic.ErrTopicNotFound):
		return nil, refuse(http.StatusNotFound, "TOPIC_NOT_FOUND")
	case err != nil:
		return nil, a.fail(req, err)
	}
	return nil, nil
}

func (a *api) emptyTopic(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	_, name, err := topicArg(req)
	if err != nil {
		return nil, err
	}
	if !protocol.ValidName(name) {
		return nil, refuse(http.StatusBadRequest, "INVALID_TOPIC")
	}
	t, err := a.lookupTopic(name)
	if err != nil {
		return nil, err
	}
	if err := t.Empty(); err != nil {
		return nil, a.fail(req, err)
	}
	return nil, nil
}

// pauseTopic returns the handler that stops or starts the flow to the channels. The list of topics is on disk before the
// answer.
func (a *api) pauseTopic(paused bool) httpapi.HandlerFunc {
	return func(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
		t, err := a.existingTopic(req)
		if err != nil {
			return nil, err
		}
		if err := t.SetPaused(paused); err != nil {
			return nil, a.fail(req, err)
		}
		return nil, a.saveMetadata(req)
	}
}

func (a *api) saveMetadata(req *http.Request) error {
	if err := a.cfg.Broker.SaveMetadata(); err != nil {
		return a.fail(req, err)
	}
	return nil
}

// channelArgs returns the topic that the arguments name, which must be there, and the name of a channel.
func (a *api) channelArgs(req *http.Request) (t *topic.Topic, channel string, err error) {
	q, err := httpapi.ParseQuery(req)
	if err != nil {
		return nil, "", err
	}
	name, channel, err := q.TopicAndChannel()
	if err != nil {
		return nil, "", err
	}
	t, err = a.lookupTopic(name)
	return t, channel, err
}

func (a *api) createChannel(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	t, channel, err := a.channelArgs(req)
	if err != nil {
		return nil, err
	}
	q, err := httpapi.ParseQuery(req)
	if err != nil {
		return nil, err
	}
	switch p, ok, err := placeArg(q, "start"); {
	case err != nil:
		return nil, err
	case ok:
		return a.createChannelAt(req, t, channel, p)
	}
	if _, err := t.Channel(channel); err != nil {
		return nil, a.notMoved(req, err)
	}
	return nil, nil
}

// existingChannel returns the channel that the arguments name.
func (a *api) existingChannel(req *http.Request) (*topic.Channel, error) {
	t, name, err := a.channelArgs(req)
	if err != nil {
		return nil, err
	}
	c := t.LookupChannel(name)
	if c == nil {
		return nil, refuse(http.StatusNotFound, noChannel)
	}
	return c, nil
}

// onChannel returns the handler that does something to the channel which the arguments name.
func (a *api) onChannel(do func(a *api, req *http.Request, c *topic.Channel) error) httpapi.HandlerFunc {
	return func(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
		c, err := a.existingChannel(req)
		if err != nil {
			return nil, err
		}
		return nil, do(a, req, c)
	}
}

// deleteChannel deletes a channel. One of a replicated topic that was deleted just now is no error: tools delete it at each broker that says that
// it has the topic.
func (a *api) deleteChannel(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	t, name, err := a.channelArgs(req)
	if err != nil {
		return nil, err
	}
	what := t.Name() + "/" + name
	err = t.DeleteChannel(name)
	switch {
	case err == nil && t.Replicated():
		a.deleted.Add(what)
	case errors.Is(err, topic.ErrChannelNotFound) && t.Replicated() && a.deleted.Has(what):
	case errors.Is(err, topic.ErrChannelNotFound):
		return nil, refuse(http.StatusNotFound, noChannel)
	case err != nil:
		return nil, a.fail(req, err)
	}
	return nil, nil
}

func (a *api) emptyChannel(req *http.Request, c *topic.Channel) error {
	if err := c.Empty(); err != nil {
		return a.fail(req, err)
	}
	return nil
}

func (a *api) pauseChannel(req *http.Request, c *topic.Channel) error {
	return a.setPaused(req, c, true)
}

func (a *api) unpauseChannel(req *http.Request, c *topic.Channel) error {
	return a.setPaused(req, c, false)
}

func (a *api) setPaused(req *http.Request, c *topic.Channel, paused bool) error {
	if err := c.SetPaused(paused); err != nil {
		return a.fail(req, err)
	}
	return a.saveMetadata(req)
}
