package policy

import (
	"context"
	"testing"
	"testing/fstest"
	"time"
)

func BenchmarkProf(b *testing.B) {
	pool := testPool(b, time.Minute)
	resources := compiled(b, pool, many(3000))
	s, _, _ := New(Options{}).Load(context.Background(), fstest.MapFS{"p.cue": {Data: []byte(eight)}})
	for b.Loop() {
		s.judge = New(Options{})
		s.Resources(context.Background(), "prod", resources)
	}
}
