// Package consul drives the mesh layer on a real Consul: config entries, keys,
// services that no agent runs, and the ACL objects by which another engine's
// workloads log in. It must not know of other drivers, of sources or of the
// reconciler, nor of what the services are.
//
// Read in this order: driver.go (the four calls), plan.go (how a difference is
// found), family.go (what one sort of thing must be able to do), then a file a
// sort: entry.go, kv.go, service.go, acl.go. http.go makes the requests,
// refuse.go says what Consul's answers mean, words.go turns what the API holds
// into the words of a spec, watch.go hears of changes.
package consul
