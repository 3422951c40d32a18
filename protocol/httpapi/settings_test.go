package httpapi

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

func TestSecretsInValuesAreMasked(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"plain":                           "plain",
		"127.0.0.1:4181":                  "127.0.0.1:4181",
		"http://host:1/auth":              "http://host:1/auth",
		"http://user:secret@host/a":       "http://user:******@host/a",
		"https://host/a?token=secret&b=c": "https://host/a?b=******&token=******",
		"user:secret@host:1":              "******@host:1",
		"http://[::secret@x/?secret":      "http://******",
	} {
		if got := Mask(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
		if strings.Contains(Mask(in).(string), "secret") {
			t.Errorf("%q shows a secret", in)
		}
	}
	if got := Mask([]string{"http://u:p@h/", "x"}); !reflect.DeepEqual(got, []string{"http://u:******@h/", "x"}) {
		t.Errorf("a list became %v", got)
	}
	if got := Mask(int64(5)); got != int64(5) {
		t.Errorf("a number became %v", got)
	}
}

// TestReloadTellsWhetherTheSettingsAreWrong: 400 says that they must be changed, 409 that they may do another time.
func TestReloadTellsWhetherTheSettingsAreWrong(t *testing.T) {
	for want, err := range map[Error]error{
		{400, "INVALID_SETTINGS: nothing has changed: --mem-queue-size: is none"}: errors.New("--mem-queue-size: is none"),
		{409, "REFUSED: nothing has changed: one is under way; and more"}:         errors.Join(NotNow("one is under way"), errors.New("and more")),
	} {
		got := (*Error)(nil)
		if err := Reload(httptest.NewRequest(http.MethodPut, "/config", nil), func() error { return err }); !errors.As(err, &got) || *got != want {
			t.Errorf("%v, wanted %+v", err, want)
		}
	}
	if err := Reload(httptest.NewRequest(http.MethodPut, "/config", nil), func() error { return nil }); err != nil {
		t.Error(err)
	}
}
