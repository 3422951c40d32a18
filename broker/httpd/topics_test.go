package httpd

import (
	"errors"
	"testing"
)

// TestTopicVerbs covers every verb of a topic with the order of its checks.
func TestTopicVerbs(t *testing.T) {
	f := newFixture(t, nil)
	for _, verb := range []string{"create", "delete", "empty", "pause", "unpause"} {
		f.run([]step{
			{"POST /topic/" + verb, "", 400, "MISSING_ARG_TOPIC"},
			{"POST /topic/" + verb, "topic=t", 400, "MISSING_ARG_TOPIC"}, // a form's body is no argument
			{"POST /topic/" + verb + "?%zz", "", 400, "INVALID_REQUEST"},
		})
	}
	f.run([]step{
		{"POST /topic/create?topic=name$", "", 400, "INVALID_TOPIC"},
		{"POST /topic/empty?topic=name$", "", 400, "INVALID_TOPIC"},
		{"POST /topic/delete?topic=name$", "", 404, "TOPIC_NOT_FOUND"},
		{"POST /topic/pause?topic=name$", "", 404, "TOPIC_NOT_FOUND"},
		{"POST /topic/unpause?topic=t", "", 404, "TOPIC_NOT_FOUND"},
		{"POST /topic/empty?topic=t", "", 404, "TOPIC_NOT_FOUND"},
		{"POST /topic/create?topic=t", "", 200, ""},
		{"POST /topic/create?topic=t", "", 200, ""},
		{"POST /topic/create?topic=t%23ephemeral", "", 200, ""},
		{"POST /mpub?topic=t", "a\nb", 200, "OK"},
		{"POST /topic/pause?topic=t", "", 200, ""},
	})
	if topic := f.topic("t"); !topic.Paused() || f.depth("t") != 2 || f.broker.saved != 1 {
		t.Errorf("paused %v, depth %d, saved %d", topic.Paused(), f.depth("t"), f.broker.saved)
	}
	f.run([]step{
		{"POST /topic/unpause?topic=t", "", 200, ""},
		{"POST /topic/empty?topic=t", "", 200, ""},
	})
	if topic := f.topic("t"); topic.Paused() || f.depth("t") != 0 || f.broker.saved != 2 {
		t.Errorf("paused %v, depth %d, saved %d", topic.Paused(), f.depth("t"), f.broker.saved)
	}
	f.run([]step{
		{"POST /topic/delete?topic=t", "", 200, ""},
		{"POST /topic/delete?topic=t", "", 404, "TOPIC_NOT_FOUND"},
	})
}

// TestChannelVerbs covers every verb of a channel with the order of its checks.
func TestChannelVerbs(t *testing.T) {
	f := newFixture(t, nil)
	f.topic("t")
	for _, verb := range []string{"create", "delete", "empty", "pause", "unpause"} {
		route := "POST /channel/" + verb
		f.run([]step{
			{route + "?%zz", "", 400, "INVALID_REQUEST"},
			{route + "?channel=$", "", 400, "MISSING_ARG_TOPIC"},
			{route + "?topic=$", "", 400, "INVALID_ARG_TOPIC"},
			{route + "?topic=unknown", "", 400, "MISSING_ARG_CHANNEL"},
			{route + "?topic=unknown&channel=$", "", 400, "INVALID_ARG_CHANNEL"},
			{route + "?topic=unknown&channel=c", "", 404, "TOPIC_NOT_FOUND"},
		})
		if verb != "create" {
			f.run([]step{{route + "?topic=t&channel=c", "", 404, "CHANNEL_NOT_FOUND"}})
		}
	}
	const query = "?topic=t&channel=c"
	f.run([]step{
		{"POST /channel/create" + query, "", 200, ""},
		{"POST /channel/create" + query, "", 200, ""},
		{"POST /mpub?topic=t", "a\nb", 200, "OK"},
		{"POST /pub?topic=t&defer=1000", "c", 200, "OK"},
		{"POST /channel/pause" + query, "", 200, ""},
	})
	ch := f.channel("t", "c")
	if s := ch.Stats(); !s.Paused || s.Depth != 2 || s.Deferred != 1 || f.broker.saved != 1 {
		t.Errorf("%+v, saved %d", s, f.broker.saved)
	}
	f.run([]step{
		{"POST /channel/unpause" + query, "", 200, ""},
		{"POST /channel/empty" + query, "", 200, ""},
	})
	if s := ch.Stats(); s.Paused || s.Depth != 0 || s.Deferred != 0 || f.broker.saved != 2 {
		t.Errorf("%+v, saved %d", s, f.broker.saved)
	}
	f.run([]step{
		{"POST /channel/delete" + query, "", 200, ""},
		{"POST /channel/delete" + query, "", 404, "CHANNEL_NOT_FOUND"},
		{"POST /topic/delete?topic=t", "", 200, ""},
	})
}

// TestPauseNotSaved: a pause that would be forgotten is not answered with 200.
func TestPauseNotSaved(t *testing.T) {
	f := newFixture(t, nil)
	f.channel("t", "c")
	f.broker.saveErr = errors.New("disk full")
	f.run([]step{
		{"POST /topic/pause?topic=t", "", 500, "INTERNAL_ERROR"},
		{"POST /channel/pause?topic=t&channel=c", "", 500, "INTERNAL_ERROR"},
	})
}
