package forge

import (
	"cmp"
	"errors"
	"slices"
)

// LastWords keeps of a history of reviews the last of every account, oldest
// first. Reviews of the same time count in the order given.
func LastWords(history []Review) []Review {
	history = slices.Clone(history)
	slices.SortStableFunc(history, func(a, b Review) int { return a.At.Compare(b.At) })
	at := map[string]int{}
	for i, r := range history {
		at[cmp.Or(r.Author.ID, r.Author.Name)] = i
	}
	var out []Review
	for i, r := range history {
		if at[cmp.Or(r.Author.ID, r.Author.Name)] == i {
			out = append(out, r)
		}
	}
	return out
}

var errTooMany = errors.New("the list is longer than can be read")

// Pages gathers a list. fetch gives what stands on a page, from 1 on, and
// whether there is another one. Where take is not nil it is asked about every
// item, in order, and ends the reading by false. More than MaxItems are
// ErrRefused.
func Pages[T any](take func(T) bool, fetch func(page int) ([]T, bool, error)) ([]T, error) {
	var all []T
	for page := 1; ; page++ {
		items, more, err := fetch(page)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			all = append(all, it)
			if take != nil && !take(it) {
				return all, nil
			}
		}
		switch {
		case len(all) > MaxItems || more && page >= MaxItems:
			return nil, &Error{Class: ErrRefused, Err: errTooMany}
		case !more || len(items) == 0:
			return all, nil
		}
	}
}
