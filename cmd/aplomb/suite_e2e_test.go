//go:build e2e

package main

import (
	"testing"

	"github.com/aplomb-dev/aplomb/internal/enginetest"
)

// suite is the tests of the package, after which the engines are stopped.
func suite(m *testing.M) stopping { return stopping{m} }

type stopping struct{ m *testing.M }

// Run implements testscript.TestingM.
func (s stopping) Run() int { return enginetest.Main(s.m) }
