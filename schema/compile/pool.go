package compile

func newPool(o Options) runner { return &inProcess{limits: o.Limits} }
