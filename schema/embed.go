package schema

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"sync"
)

//go:generate go run ../tools/nomadschema
//go:generate go run ../tools/kinds

//go:embed schema.cue */*.cue policies/library/*.cue
var files embed.FS

//go:embed kinds.json
var kindsJSON []byte

// FS is the CUE module aplomb.dev/schema: the schemas of all kinds.
func FS() fs.FS { return files }

var parseKinds = sync.OnceValue(func() []Kind {
	var kinds []Kind
	if err := json.Unmarshal(kindsJSON, &kinds); err != nil {
		panic(fmt.Sprintf("schema: the embedded kinds.json: %v", err))
	}
	return kinds
})

var indexKinds = sync.OnceValue(func() map[string]*Kind {
	byName := map[string]*Kind{}
	for i, k := range parseKinds() {
		byName[k.Name] = &parseKinds()[i]
	}
	return byName
})

// Kinds are all kinds, by name. The slice is shared: it is not to be altered.
func Kinds() []Kind { return parseKinds() }

// KindOf finds a kind by name. What it answers is shared: it is not to be
// altered.
func KindOf(name string) (*Kind, bool) {
	k, ok := indexKinds()[name]
	return k, ok
}
