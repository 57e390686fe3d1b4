// Package proposals plans every open proposal of an environment, read-only
// against what lives, and says so on it: one comment, edited in place, and a
// commit status. What a proposal is planned from is read from the forge and the
// repository each time; nothing that an event says is believed. It also makes
// proposals of its own: to undo what was quarantined, to bring to one environment
// what is well in another, and to set a value that somebody asked for.
//
// Read in this order: desk.go and basis.go (which are planned, and when), job.go (one of
// them), comment.go and places.go (what people read, and where it leads),
// approver.go, own.go and entitled.go (whose word counts), teller.go (how an apply
// goes), book.go (what is remembered of all that), reverter.go, promoter.go and setter.go. It must not
// know which forge it speaks to, how a plan is made, nor who has to agree to one.
package proposals
