//go:build !linux

package sandbox

import (
	"context"
	"fmt"
)

// Run answers ErrUnavailable: only Linux has what a sandbox is made of.
func Run(context.Context, Spec) ([]Result, error) {
	return nil, fmt.Errorf("start a sandbox: %w", ErrUnavailable)
}

// Probe answers ErrUnavailable.
func Probe(context.Context, *User) error { return fmt.Errorf("start a sandbox: %w", ErrUnavailable) }

// Main is never started here.
func Main([]string) int { return 64 }
