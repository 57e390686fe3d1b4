package vault

import (
	"encoding/json"

	"github.com/aplomb-dev/aplomb/drivers"
)

func wanted(spec string) drivers.Desired { return drivers.Desired{Spec: json.RawMessage(spec)} }
