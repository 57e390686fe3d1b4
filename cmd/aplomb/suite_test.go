//go:build !e2e

package main

import "testing"

// suite is the tests of the package.
func suite(m *testing.M) *testing.M { return m }
