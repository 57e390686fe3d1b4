// Testprovider is a provider for OpenTofu and Terraform that the tests of
// drivers/provisioning/tofu use, and nobody else: its things are files of one
// folder, so that a test can look at them, alter and delete them behind the
// tool's back. It can be slow, fail, and hold secrets. It is a module of its
// own: nothing of it reaches the product.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
)

func main() {
	err := providerserver.Serve(context.Background(), func() provider.Provider { return &testProvider{} },
		providerserver.ServeOpts{Address: "aplomb.test/aplomb/aplombtest"})
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
