package sources

// Ref is a name that a repository has for something.
type Ref struct {
	Name string // the whole of it: refs/heads/main
	ID   string // of a commit, or of an annotated tag
}

// Commit is a commit with what it says of itself: whatever its author wrote.
type Commit struct {
	Revision          // its Signer is of the list that was asked about
	Email    string   // that the author goes by
	Parents  []string // the first is what was merged into
	Message  string   // as it is; of a very long one its end
}

// Tag is an annotated tag that somebody signed.
type Tag struct {
	Name    string // that was signed: what has another name is a copy
	Commit  string // that it names, without a tag between
	Message string // without the signature
	Signer  string // of the list that was asked about
}
