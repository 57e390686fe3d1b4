package schema

// Level is how much a policy weighs.
type Level string

// The levels.
const (
	Advisory      Level = "advisory"       // told, nothing more
	SoftMandatory Level = "soft-mandatory" // refused, unless an approver overrides it by name and with a reason
	HardMandatory Level = "hard-mandatory" // refused, and there is no way round
)

// Violation is what a policy says against a resource or a change. It repeats no
// secret: policies see fingerprints only.
type Violation struct {
	Policy  string `json:"policy"` // its name
	Level   Level  `json:"level"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Path    Path   `json:"path,omitempty"` // of the field, from the root of the declaration: "/spec/count"; "" for all of it
	Pos     Pos    `json:"pos"`            // of the field, as near as is known; of the declaration otherwise

	// Approvers is how many different people must approve the change for the
	// policy to be content; 0 where approving is not enough.
	Approvers int `json:"approvers,omitempty"`
}
