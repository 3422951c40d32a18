package httpd

import (
	"strings"
	"testing"

	"brokerd/admin/access"
)

// TestReadingBodiesIsARightOfItsOwn: whoever only sees is refused, who may consume from the topic is not, and it is written down who has looked, and
// not what was searched for; pages of other sites are refused.
func TestReadingBodiesIsARightOfItsOwn(t *testing.T) {
	k := newKeys(t)
	sees, reads, others := k.of("read"), k.of("read,consume:t"), k.of("read,consume:orders.*")
	f := newFixture(t, nil, access.Config{Tokens: k.open()})
	paths := []string{"GET /api/browse/t?state=kept", "GET /api/browse/t?state=waiting&channel=c&contains=secret-7", "GET /api/message/t?id=00000000000000ff"}
	for _, path := range paths {
		f.run([]step{{path, "", 403, "FORBIDDEN"}}, "Authorization", "Bearer "+sees)
		f.run([]step{{path, "", 403, "FORBIDDEN"}}, "Authorization", "Bearer "+others)
		f.run([]step{{path, "", 200, `"list":[]`}}, "Authorization", "Bearer "+reads)
		f.run([]step{{path, "", 403, "--http-allow-origin"}}, "Authorization", "Bearer "+reads, "Origin", "http://evil.example")
	}
	log := f.log.String()
	for _, want := range []string{"action=read_messages topic=t channel=\"\"", "action=read_messages topic=t channel=c", "action=read_message topic=t", `detail="id 00000000000000ff"`} {
		if !strings.Contains(log, want) {
			t.Errorf("not in the log: %s", want)
		}
	}
	if strings.Contains(log, "secret-7") {
		t.Error("what was searched for is in the log")
	}
}

// TestLookingAtMessages: what makes no sense is refused, and a preview changes nothing.
func TestLookingAtMessages(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	f.run([]step{
		{"GET /api/browse/t", "", 400, "INVALID_STATE"},
		{"GET /api/browse/t?state=waiting", "", 400, "INVALID_STATE"},
		{"GET /api/browse/t?state=waiting&channel=no%20no", "", 400, "INVALID_CHANNEL"},
		{"GET /api/browse/t?state=kept&limit=201", "", 400, "INVALID_LIMIT"},
		{"GET /api/browse/t?state=kept&cursor=5", "", 400, "INVALID_CURSOR"},
		{"GET /api/browse/none?state=kept", "", 404, "TOPIC_NOT_FOUND"},
		{"GET /api/message/t", "", 400, "INVALID_ID"},
		{"GET /api/message/t?id=7", "", 400, "INVALID_ID"},
		{"GET /api/message/t?position=7", "", 400, "INVALID_POSITION"},
		{"GET /api/message/t?position=7&node=192.0.2.1:80", "", 404, "NODE_NOT_FOUND"},
		{"GET /api/message/none?id=00000000000000ff", "", 404, "TOPIC_NOT_FOUND"},
		{"GET /api/preview/t/c?action=rewind&to=-1h", "", 200, `{"messages":6,"nodes":["` + f.a.Address() + `"`},
		{"GET /api/preview/t/c?action=empty&to=-1h", "", 400, "INVALID_ACTION"},
		{"GET /api/preview/t/c?action=skip", "", 400, "INVALID_PLACE"},
	})
	for _, act := range append(f.a.Acts(), f.b.Acts()...) {
		if !strings.Contains(act, "dry_run=true") {
			t.Errorf("a preview has done %s", act)
		}
	}
}
