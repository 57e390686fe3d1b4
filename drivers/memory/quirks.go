package memory

// Quirks are the habits of an engine. The zero value is a well-behaved one:
// compare-and-set, addresses chosen by the client, marks, readable fields.
// They are all combinable. A number of steps of 0 switches a habit off.
type Quirks struct {
	NoCAS            bool // a write cannot be made to depend on a version, and a create overwrites; the driver reads again immediately before
	EngineIDs        bool // memory.thing gets its id from the engine too
	NonceUnsupported bool // creates with an engine-given id take no nonce: they are at-least-once
	NoMarks          bool // no room for ownership marks
	WriteOnly        bool // password is never read back, nor can the engine say that it changed
	OpaquePlans      bool // State.Version is always "": only planning tells whether something differs
	TwoCallCreates   bool // a create exists half-made between two calls
	NoisyDefaults    bool // the engine fills in size where it is not declared, and a field of its own at every write
	Deferred         bool // count cannot hold a reference's text: Plan answers Deferred

	SlowPlans   int // a plan answers ErrWaiting so many times before it is made
	SlowHealth  int // progressing for so many steps after a write
	SlowDeletes int // exists for so many steps after a delete was accepted
	TornReads   int // for up to so many steps after a write a read is torn, which the driver answers as ErrWaiting
	LateLanding int // a write whose context, hook or driver died before it landed does so after so many steps

	FaultBefore float64 // probability that a write fails before it lands
	FaultAfter  float64 // probability that a write lands and its answer is lost
	FaultRead   float64 // probability that one item of an Observe fails
	FaultReveal float64 // probability that a Reveal is denied
}
