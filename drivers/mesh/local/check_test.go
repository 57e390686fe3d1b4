package local

import (
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestCheck(t *testing.T) {
	for spec, c := range map[string]struct {
		unknown schema.Path
		refused string
	}{
		`{"port":80}`: {}, `{"port":80,"checks":[{"http":"/health"},{"tcp":true,"interval":"1m"}]}`: {},
		`{"port":"@{r}"}`:                                           {"/port", ""},
		`{"port":80,"address":"@{r}"}`:                              {"/address", ""},
		`{"port":80,"checks":[{"http":"@{r}"}]}`:                    {"/checks/0/http", ""},
		`{"port":"@{r}","address":"a b"}`:                           {"/port", "is not an address"},
		`{"port":0}`:                                                {"", "not a port"},
		`{"port":80,"checks":[{}]}`:                                 {"", "checks[0]: neither"},
		`{"port":80,"checks":[{"http":"ftp://x/"}]}`:                {"", "checks[0]"},
		`{"port":80,"checks":[{"tcp":true,"timeout":"99999999d"}]}`: {"", "checks[0]"},
	} {
		want := drivers.Desired{Spec: []byte(spec)}
		if c.unknown != "" {
			want.Unknown = map[schema.Path]string{c.unknown: "@{r}"}
		}
		err := newDriver(t).Check(Kind, "web", want)
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v; want %q", spec, err, c.refused)
		}
	}
	if newDriver(t).Check("local.none", "web", drivers.Desired{}) == nil {
		t.Error("another kind was taken")
	}
}
