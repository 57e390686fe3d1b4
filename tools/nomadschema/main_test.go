package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What lies in the repository is what the API says.
func TestGeneratedFileIsCurrent(t *testing.T) {
	have, err := os.ReadFile(filepath.Join("..", "..", "schema", "nomad", "types.cue"))
	if err != nil || !bytes.Equal(have, generate()) {
		t.Errorf("schema/nomad/types.cue is not what Nomad's API says (%v); run go generate in schema/", err)
	}
}

func TestGenerate(t *testing.T) {
	text := string(generate())
	for _, want := range []string{
		"#JobSpec: {\n", "\tTaskGroups?: [...#TaskGroup]\n", "\t// TaskGroup.Count of Nomad's API.\n\tCount?: int\n", "\tConfig?: {[string]: _}\n",
		"\tKillTimeout?: " + duration + "\n", "\tEnv?: {[string]: string}\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, none := range []string{"Stop?:", "JobModifyIndex", "NomadTokenID", "VaultToken"} {
		if strings.Contains(text, none) {
			t.Errorf("%q may be declared", none)
		}
	}
}
