package proposals

import (
	"errors"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
)

// TestGrumble: a forge that is down for a night fills no log, and what else goes
// wrong, or goes wrong again, is told.
func TestGrumble(t *testing.T) {
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	var g grumble
	down, full := errors.New("down"), errors.New("full")
	for _, err := range []error{down, down, down, full, full, nil, full} {
		g.about(log, err, "no look")
	}
	var said []string
	for _, e := range hook.AllEntries() {
		if e.Level == logrus.WarnLevel {
			said = append(said, e.Data[logrus.ErrorKey].(error).Error())
		}
	}
	if got := strings.Join(said, " "); got != "down full full" || len(hook.AllEntries()) != 6 {
		t.Errorf("warned of %q, of %d entries", got, len(hook.AllEntries()))
	}
}
