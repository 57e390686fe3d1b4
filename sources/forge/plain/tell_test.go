package plain

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
)

// Whoever pushes any number of tags that approve nothing fills no log with them,
// and keeps nobody from a word about theirs for ever.
func TestTellsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := test.NewNullLogger()
		log.SetOutput(io.Discard)
		log.SetLevel(logrus.WarnLevel)
		p := &Plain{cfg: Config{Log: log}, told: map[string]bool{}, since: time.Now()}
		for range 3 {
			for i := range 2 * mostTold {
				p.tell(fmt.Sprintf("refs/tags/aplomb/approve/%d", i), "a tag approves nothing")
			}
		}
		if n := len(said.AllEntries()); n != mostTold {
			t.Errorf("%d words", n)
		}
		time.Sleep(tellAgain)
		p.tell("refs/tags/aplomb/approve/ben", "a tag approves nothing")
		if n := len(said.AllEntries()); n != mostTold+1 {
			t.Errorf("%d words, %s later", n, tellAgain)
		}
	})
}
