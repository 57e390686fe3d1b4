package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

func pure() *Driver { return &Driver{Env: "e", URL: "http://127.0.0.1:1"} }

// wants is a declaration, normalised.
func wants(t *testing.T, kind, spec string) json.RawMessage {
	t.Helper()
	d := pure()
	handle, err := d.Address(kind, "web", json.RawMessage(spec))
	drivertest.Must(t, err)
	f, err := d.family(kind)
	drivertest.Must(t, err)
	w, err := f.want(drivers.Item{ID: schema.ID{Kind: kind, Name: "web"}, Handle: handle, Want: &drivers.Desired{Spec: json.RawMessage(spec)}}, drivers.State{})
	drivertest.Must(t, err)
	return w.spec
}

// TestNormalised: what is declared in other words than Consul keeps is the same.
func TestNormalised(t *testing.T) {
	for _, c := range []struct{ kind, spec, want string }{
		{KindDefaults, `{"Protocol":"HTTP2"}`, `{"Name":"web","Protocol":"http2"}`},
		{KindDefaults, `{"Protocol":"","MeshGateway":{},"Expose":{},"TransparentProxy":{"OutboundListenerPort":0},"Meta":{}}`, `{"Name":"web"}`},
		{KindDefaults, `{"UpstreamConfig":{"Defaults":{"Protocol":"GRPC","PassiveHealthCheck":{"Interval":"60s"},"Limits":{"MaxConnections":0}}}}`,
			`{"Name":"web","UpstreamConfig":{"Defaults":{"Limits":{"MaxConnections":0},"PassiveHealthCheck":{"Interval":"1m0s"},"Protocol":"grpc"}}}`},
		{KindResolver, `{"Subsets":{"all":{}},"ConnectTimeout":"60s","Redirect":{}}`, `{"ConnectTimeout":"1m0s","Name":"web","Subsets":{"all":{}}}`},
		{KindIntentions, `{"Sources":[{"Name":"*","Action":"deny"},{"Name":"b","Action":"allow"},{"Name":"a","Permissions":[{"Action":"allow","HTTP":{"Methods":["get","Put"]}}]}]}`,
			`{"Name":"web","Sources":[{"Action":"allow","Name":"b","Type":"consul"},{"Name":"a","Permissions":[{"Action":"allow","HTTP":{"Methods":["GET","PUT"]}}],"Type":"consul"},{"Action":"deny","Name":"*","Type":"consul"}]}`},
		{KindKV, `{"JSON":{"b":1,"a":[]}}`, `{"JSON":{"a":[],"b":1},"Key":"web"}`},
		{KindKV, `{"Value":"{\"a\":1}"}`, `{"JSON":{"a":1},"Key":"web"}`},
		{KindKV, `{"Value":"{\"b\":1,\"a\":1}"}`, `{"Key":"web","Value":"{\"b\":1,\"a\":1}"}`},
		{KindKV, `{"Base64":"aGk="}`, `{"Key":"web","Value":"hi"}`},
		{KindService, `{"Node":"n","Service":{}}`, `{"Node":"n","Service":{"ID":"web","Service":"web","Weights":{"Passing":1,"Warning":1}}}`},
		{KindRole, `{"Policies":[{"Name":"b"},{"Name":"a"}]}`, `{"Name":"web","Policies":[{"Name":"b"},{"Name":"a"}]}`},
		{KindAuthMethod, `{"Type":"jwt","Config":{"ClockSkewLeeway":"60s"}}`, `{"Config":{"ClockSkewLeeway":"1m0s"},"Name":"web","TokenLocality":"local","Type":"jwt"}`},
	} {
		if got := wants(t, c.kind, c.spec); string(got) != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", c.kind, c.spec, got, c.want)
		}
	}
}

// TestRefusedByItself: what is wrong whatever lives is found by Check.
func TestRefusedByItself(t *testing.T) {
	d := pure()
	for _, c := range []struct{ kind, spec, says string }{
		{KindDefaults, `{"Meta":{"aplomb-environment":"x"}}`, "aplomb-environment"},
		{KindDefaults, `{"MaxInboundConnections":"many"}`, ""},
		{KindDefaults, `[]`, ""},
		{KindDefaults, `{"Name":"@{local.port/p.port}"}`, "reference"},
		{KindKV, `{}`, "no value"},
		{KindKV, `{"Key":"/a","Value":"x"}`, "neither begins nor ends"},
		{KindKV, `{"Base64":"="}`, "base64"},
		{KindKV, `{"File":"gone"}`, "gone"},
		{KindKV, `{"Value":"` + strings.Repeat("x", MaxValue+1) + `"}`, "524289 bytes"},
		{KindService, `{"Service":{}}`, "Node"},
		{KindService, `{"Node":"n","Service":{},"NodeMeta":{"a":"b"}}`, "Address"},
		{KindService, `{"Node":"n","Service":{"Meta":{"aplomb-environment":"x"}}}`, "aplomb-environment"},
		{KindService, `{"Node":"n","Service":{},"Checks":[{"CheckID":"c"},{"CheckID":"c"}]}`, "CheckID"},
		{KindPolicy, `{"Description":"x [aplomb e]"}`, "mark"},
		{"consul.none", `{}`, "no kind"},
	} {
		err := d.Check(c.kind, "web", drivers.Desired{Spec: json.RawMessage(c.spec)})
		if !errors.Is(err, drivers.ErrPermanent) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %.60s: %v", c.kind, c.spec, err)
		}
	}
	unknown := drivers.Desired{Spec: json.RawMessage(`{"MaxInboundConnections":"@{a.b/c.d}"}`), Unknown: map[schema.Path]string{"/MaxInboundConnections": "@{a.b/c.d}"}}
	if err := d.Check(KindDefaults, "web", unknown); err != nil {
		t.Errorf("a number that is not known yet: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	d := pure()
	for _, c := range []struct{ kind, spec, want string }{
		{KindDefaults, `{}`, "service-defaults/web"}, {KindResolver, `{"Name":"API"}`, "service-resolver/API"}, {KindIntentions, `{"Name":"*"}`, "service-intentions/*"},
		{KindKV, `{}`, "kv/web"}, {KindKV, `{"Key":"a/b c"}`, "kv/a/b c"},
		{KindService, `{"Node":"a/b","Service":{"ID":"x/y"}}`, "service/a%2Fb/x/y"}, {KindService, `{"Node":"n","Service":{"Service":"s"}}`, "service/n/s"}, {KindService, `{"Node":"n"}`, "service/n/web"},
		{KindPolicy, `{}`, "acl-policy/web"}, {KindRole, `{"Name":"r"}`, "acl-role/r"}, {KindAuthMethod, `{}`, "acl-auth-method/web"}, {KindRule, `{}`, ""},
	} {
		if got, err := d.Address(c.kind, "web", json.RawMessage(c.spec)); got != c.want || err != nil {
			t.Errorf("%s %s: %q, %v, want %q", c.kind, c.spec, got, err, c.want)
		}
	}
}

func TestNeedsAndClaims(t *testing.T) {
	d := pure()
	for _, c := range []struct{ kind, spec, want string }{
		{KindRole, `{"Policies":[{"Name":"b"},{"Name":"a"},{"Name":"a"},{"Name":"@{x.y/z.name}"}]}`, "[acl-policy/a acl-policy/b]"},
		{KindRule, `{"AuthMethod":"m","BindType":"role","BindName":"r"}`, "[acl-auth-method/m acl-role/r]"},
		{KindRule, `{"AuthMethod":"m","BindType":"role","BindName":"${value.x}"}`, "[acl-auth-method/m]"},
		{KindRule, `{"AuthMethod":"m","BindType":"service","BindName":"s"}`, "[acl-auth-method/m]"},
		{KindIntentions, `{"Sources":[{"Name":"a","Permissions":[]}]}`, "[]"},
		{KindResolver, `{"Subsets":{"a":{}},"Redirect":{"Service":"web","ServiceSubset":"a"}}`, "[]"},
		{KindResolver, `{"Redirect":{"Service":"api"}}`, "[service-defaults/api service-defaults/web]"},
		{KindResolver, `{"Name":"x","Failover":{"*":{"Targets":[{"Service":"b"},{"Datacenter":"dc2"},{"Service":"@{a.b/c.d}"}]}}}`, "[service-defaults/b service-defaults/x]"},
	} {
		if got := fmt.Sprint(d.Needs(c.kind, "web", drivers.Desired{Spec: json.RawMessage(c.spec)})); got != c.want {
			t.Errorf("%s %s needs %s, want %s", c.kind, c.spec, got, c.want)
		}
	}
	made := d.Claims(KindService, "web", drivers.Desired{Spec: json.RawMessage(`{"Node":"n","Address":"10.0.0.1","Service":{}}`)})
	put := d.Claims(KindService, "web", drivers.Desired{Spec: json.RawMessage(`{"Node":"n","Service":{}}`)})
	if len(made) != 1 || made[0].Shared || len(put) != 0 || len(d.Claims(KindKV, "web", drivers.Desired{Spec: json.RawMessage(`{"Node":"n","Address":"a"}`)})) != 0 {
		t.Errorf("claims %v and %v", made, put)
	}
}

// TestRefusals: what Consul says, and what to do then.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		status int
		said   string
		class  error
	}{
		{500, `service "web" has protocol "tcp", which is incompatible with L7 intentions permissions`, drivers.ErrWaiting},
		{500, `rpc error making call: service "web" has protocol "tcp", which is incompatible with L7 intentions permissions`, drivers.ErrWaiting},
		{500, "1 error occurred:\n\t* Referenced JWT Provider does not exist. Provider Name: okta", drivers.ErrWaiting},
		{500, `No such ACL policy with name "a"`, drivers.ErrWaiting},
		{500, `Invalid Auth Method: error checking JWKSURL: Get "http://x": dial tcp: connection refused`, drivers.ErrWaiting},
		{409, "Missing node registration", drivers.ErrWaiting},
		{500, "1 error occurred:\n\t* invalid value for balance_inbound_connections: sideways", drivers.ErrPermanent},
		{500, `DefaultSubset "x" is not a valid subset`, drivers.ErrPermanent},
		{500, "Failed to parse ACL rules: object expected closing RBRACE got: EOF", drivers.ErrPermanent},
		{400, `Request decoding failed: invalid config key "Bogus"`, drivers.ErrPermanent},
		{413, "too large", drivers.ErrPermanent},
		{403, "Permission denied: token with AccessorID '' lacks permission", drivers.ErrDenied},
		{500, "rpc error making call: Permission denied", drivers.ErrDenied},
		{403, "ACL not found", drivers.ErrDenied},
		{409, `failed to set key "x", index is stale`, drivers.ErrStale},
		{500, `Invalid Policy: A Policy with Name "a" already exists`, drivers.ErrStale},
		{429, "Your IP is issuing too many concurrent connections", drivers.ErrRetryable},
		{500, "No cluster leader", drivers.ErrRetryable},
		{500, "rpc error getting client: failed to get conn: invalid: EOF", drivers.ErrRetryable},
		{500, "rpc error: broken", drivers.ErrRetryable},
		{503, "", drivers.ErrUnreachable},
	} {
		err := refusal("write", "x", c.status, errors.New(said([]byte(c.said))))
		if drivers.Class(err) != c.class || !drivers.Answered(err) {
			t.Errorf("%d %q is %v, want %v", c.status, c.said, drivers.Class(err), c.class)
		}
		if c.class == drivers.ErrWaiting && drivers.HintOf(err) == "" {
			t.Errorf("%q has no hint", c.said)
		}
	}
}

func TestFlags(t *testing.T) {
	a, b := &kvs{d: &Driver{Env: "a"}, flags: flagsOf("a")}, flagsOf("b")
	if a.owner(a.flags) != "a" || a.owner(0) != "" || a.owner(42) != "" || a.owner(b) == "" || a.owner(b) == "a" || a.flags == b || a.flags>>40 != 0x61706c {
		t.Errorf("flags %x and %x: %q", a.flags, b, a.owner(b))
	}
}

func TestPrefixes(t *testing.T) {
	for _, c := range []struct {
		keys string
		most int
		want string
	}{
		{"a/b/c a/b/d a/x", 9, "a/"}, {"a/b/c a/b/d e/f", 9, "a/b/ e/"}, {"top a/b", 9, "a/ top"}, {"a/b/c/d a/b/e/f a/g/h/i", 2, "a/b/ a/g/h/"}, {"a/b/c/d a/b/e/f a/g/h/i", 1, "a/"}, {"a b c", 2, "a b"}, {"", 2, ""},
	} {
		var handles []string
		for _, k := range strings.Fields(c.keys) {
			handles = append(handles, kvPrefix+k)
		}
		if got := strings.Join(prefixes(handles, c.most), " "); got != c.want {
			t.Errorf("%q at most %d: %q, want %q", c.keys, c.most, got, c.want)
		}
	}
	if f := commonFolder([]string{"a/bc/d", "a/bd/e"}); f != "a/" {
		t.Errorf("common folder %q", f)
	}
	if f := commonFolder([]string{"ab", "ac"}); f != "" {
		t.Errorf("common folder %q", f)
	}
}

// TestBatcher: what is asked for while a transaction is under way goes together
// in the next; who gives up is not waited for.
func TestBatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		b := batcher{send: func(_ context.Context, ops []*api.KVTxnOp) ([]*api.KVPair, map[int]error, error) {
			sizes = append(sizes, len(ops))
			time.Sleep(time.Second)
			if len(ops) > 100 {
				return nil, nil, sized(http.StatusRequestEntityTooLarge, driverkit.FailHTTP("write", "x", http.StatusRequestEntityTooLarge, errors.New("large")))
			}
			pairs := make([]*api.KVPair, len(ops))
			for i, op := range ops {
				pairs[i] = &api.KVPair{Key: op.Key}
			}
			return pairs, nil, nil
		}}
		var wg sync.WaitGroup
		write := func(key string) {
			wg.Go(func() {
				if pair, err := b.do(t.Context(), &api.KVTxnOp{Key: key}); err != nil || pair.Key != key {
					t.Errorf("%s: %v", key, err)
				}
			})
		}
		write("first")
		synctest.Wait()
		for i := range 120 {
			write(fmt.Sprint(i))
		}
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := b.do(ctx, &api.KVTxnOp{Key: "given up"}); !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		if fmt.Sprint(sizes) != "[1 120 60 60]" {
			t.Errorf("transactions of %v", sizes)
		}
	})
}

// TestIndexThatGoesBack: Consul was restored, and the next query begins anew.
func TestIndexThatGoesBack(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	indices := []string{"100", "5", "7"}
	enough := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n := len(asked)
		asked = append(asked, r.URL.Query().Get("index"))
		if len(asked) == 4 {
			close(enough)
		}
		mu.Unlock()
		if n >= len(indices) {
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", indices[n])
		_, _ = io.WriteString(w, "[]")
	}))
	defer s.Close()
	d := &Driver{Env: "e", URL: s.URL}
	d.seen.note(drivers.Item{ID: schema.ID{Kind: KindDefaults, Name: "a"}}, drivers.State{Handle: "service-defaults/a"})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Watch(ctx, func(...string) {}) }()
	<-enough
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(asked[:4], []string{"0", "100", "0", "7"}) {
		t.Errorf("asked with %v", asked)
	}
}

// TestEnvironmentSaysNothing: no variable of Consul's own client has a say, and
// the token is read at each use and told to nobody.
func TestEnvironmentSaysNothing(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "of the environment")
	t.Setenv("CONSUL_NAMESPACE", "elsewhere")
	t.Setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
	var tokens []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("X-Consul-Token"))
		if r.URL.RawQuery != "" {
			t.Errorf("asked with %s", r.URL.RawQuery)
		}
		http.Error(w, "no: "+r.Header.Get("X-Consul-Token"), http.StatusInternalServerError)
	}))
	defer s.Close()
	n := 0
	item := []drivers.Item{{ID: schema.ID{Kind: KindDefaults, Name: "a"}, Handle: "service-defaults/a"}}
	for _, d := range []*Driver{{Env: "e", URL: s.URL}, {Env: "e", URL: s.URL, Token: func() (schema.Secret, error) { n++; return schema.NewSecret(fmt.Sprintf("t0ken-%d", n)), nil }}} {
		for range 2 {
			states, err := d.Observe(t.Context(), item)
			if err != nil || states[0].Err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", states[0].Err, states[0].Err, states[0].Err), "t0ken") {
				t.Errorf("%v, %v", err, states)
			}
		}
	}
	if !slices.Equal(tokens, []string{"", "", "t0ken-1", "t0ken-2"}) {
		t.Errorf("tokens %q", tokens)
	}
	d := &Driver{Env: "e", URL: s.URL, Token: func() (schema.Secret, error) { return schema.Secret{}, errors.New("no such file") }}
	if states, err := d.Observe(t.Context(), item); err != nil || !errors.Is(states[0].Err, drivers.ErrDenied) {
		t.Errorf("no token: %v, %v", err, states)
	}
}

func FuzzMark(f *testing.F) {
	f.Add("for a [aplomb 7f3a nonce-1]")
	f.Add("[aplomb e]")
	f.Add("a [aplomb x] [aplomb y]")
	f.Fuzz(func(t *testing.T, text string) {
		m := markOf(text)
		if m.env == "" {
			if m.text != text {
				t.Fatalf("%q lost something: %+v", text, m)
			}
			if again := markOf(mark{text: text, env: "e", nonce: "n"}.String()); again.env != "e" || again.nonce != "n" || strings.TrimRight(again.text, "\t\n\f\r ") != strings.TrimRight(text, "\t\n\f\r ") {
				t.Fatalf("%q with a mark is %+v", text, again)
			}
		}
	})
}

func FuzzPlace(f *testing.F) {
	f.Add("service/n/id")
	f.Add("service/a%2Fb/x/y")
	f.Add("kv/..")
	f.Fuzz(func(t *testing.T, handle string) {
		at, err := placeOf(handle)
		if err != nil {
			return
		}
		if again, err := placeOf(at.handle()); err != nil || again != at {
			t.Fatalf("%q is %+v, then %+v: %v", handle, at, again, err)
		}
	})
}

func FuzzValueWords(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.0,"x"]}`))
	f.Add([]byte(`[]`))
	f.Add([]byte("\xff\x00"))
	f.Add([]byte(`{"a":1}{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		spec, err := keySpec("kv/k", "k", valueWords(b))
		if err != nil {
			t.Fatal(err)
		}
		v, err := declaredValue("kv/k", &drivers.Desired{Spec: spec})
		if err == nil && !bytes.Equal(v.bytes, b) {
			t.Fatalf("%q is declared as %s, which is %q", b, spec, v.bytes)
		}
		if err != nil && len(b) <= MaxValue {
			t.Fatalf("%q is declared as %s: %v", b, spec, err)
		}
	})
}

// FuzzEntry: whatever Consul answers is a state that planning takes, or an
// error.
func FuzzEntry(f *testing.F) {
	f.Add(0, []byte(`{"Kind":"service-defaults","Name":"web","Protocol":"http","TransparentProxy":{},"Meta":{"aplomb-environment":"e"},"ModifyIndex":19}`))
	f.Add(1, []byte(`{"Kind":"service-resolver","Name":"web","ConnectTimeout":"5s","Subsets":{"a":{}},"Failover":{"*":{"Targets":[{}]}}}`))
	f.Add(2, []byte(`{"Kind":"service-intentions","Name":"web","Sources":[null,{"Name":"a","Permissions":[null,{"HTTP":{"Methods":["get"]}}]}]}`))
	f.Fuzz(func(t *testing.T, n int, text []byte) {
		kind := []string{KindDefaults, KindResolver, KindIntentions}[((n%3)+3)%3]
		e := newEntries(pure(), kind)
		s, err := e.state(e.native+"/web", text)
		if err != nil {
			return
		}
		var again json.RawMessage
		if err := json.Unmarshal(s.Spec, &again); err != nil {
			t.Fatalf("%s: %v", s.Spec, err)
		}
		if _, err := driverkit.Diff(s.Spec, json.RawMessage(`{"Name":"web"}`), nil); err != nil {
			t.Fatal(err)
		}
	})
}
