package prototest

import "net/http"

// GrantBySecret is the auth daemon that auth_on.txt asks for.
func GrantBySecret(w http.ResponseWriter, r *http.Request) {
	grants := map[string]string{
		"all":  `{"topic":"^prototest\\.","channels":[".*"],"permissions":["subscribe","publish"]}`,
		"sub":  `{"topic":"^prototest\\.","channels":["^c$"],"permissions":["subscribe"]}`,
		"pub":  `{"topic":"^prototest\\.","channels":[".*"],"permissions":["publish"]},{"topic":"x","permissions":["subscribe"]}`,
		"none": ``,
	}
	grant, ok := grants[r.FormValue("secret")]
	if !ok {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	_, _ = w.Write([]byte(`{"ttl":60,"identity":"who","identity_url":"http://who","authorizations":[` + grant + `]}`))
}
