// Writes ../go.json: keys, signatures, tokens and creds files as the official Go libraries make them.
//
// Run with: go run . > ../go.json
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/jwt/v2"
	v1 "github.com/nats-io/jwt/v2/v1compat"
	"github.com/nats-io/nkeys"
)

type key struct {
	Seed      string            `json:"seed"`
	Public    string            `json:"public"`
	Signature map[string]string `json:"signatures"`
}

type token struct {
	Name   string `json:"name"`
	Token  string `json:"token"`
	Signer string `json:"signer"`
	// What the library itself reads, after its own migration of old tokens.
	Claims json.RawMessage `json:"claims"`
}

type creds struct {
	Text   string `json:"text"`
	Jwt    string `json:"jwt"`
	Public string `json:"public"`
}

type golden struct {
	Keys   []key   `json:"keys"`
	Tokens []token `json:"tokens"`
	Creds  []creds `json:"creds"`
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

// Every run has the same keys.
func pair(prefix nkeys.PrefixByte, number byte) nkeys.KeyPair {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = number*31 + byte(i)*7
	}
	return must(nkeys.FromRawSeed(prefix, raw))
}

func public(pair nkeys.KeyPair) string { return must(pair.PublicKey()) }
func seed(pair nkeys.KeyPair) string   { return string(must(pair.Seed())) }

func main() {
	var out golden
	texts := []string{"", "nonce", "PXoWU7zWAMt75FY", "a longer text, with ümlauts and \x00\x01 bytes"}
	for number := range byte(4) {
		for _, prefix := range []nkeys.PrefixByte{nkeys.PrefixByteOperator, nkeys.PrefixByteAccount, nkeys.PrefixByteUser, nkeys.PrefixByteServer, nkeys.PrefixByteCluster} {
			pair := pair(prefix, number)
			signatures := map[string]string{}
			for _, text := range texts {
				signatures[text] = base64.RawURLEncoding.EncodeToString(must(pair.Sign([]byte(text))))
			}
			out.Keys = append(out.Keys, key{seed(pair), public(pair), signatures})
		}
	}

	operator, operatorSigning := pair(nkeys.PrefixByteOperator, 1), pair(nkeys.PrefixByteOperator, 2)
	account, signing, scoped := pair(nkeys.PrefixByteAccount, 1), pair(nkeys.PrefixByteAccount, 2), pair(nkeys.PrefixByteAccount, 3)
	system := pair(nkeys.PrefixByteAccount, 4)
	user := pair(nkeys.PrefixByteUser, 1)

	add := func(name, text string, signer nkeys.KeyPair) string {
		claims, err := jwt.Decode(text)
		if name == "generic" {
			claims, err = jwt.DecodeGeneric(text)
		}
		claims = must(claims, err)
		out.Tokens = append(out.Tokens, token{name, text, seed(signer), must(json.Marshal(claims))})
		return text
	}
	encode := func(name string, claims jwt.Claims, signer nkeys.KeyPair) string {
		return add(name, must(claims.Encode(signer)), signer)
	}

	plain := jwt.NewOperatorClaims(public(operator))
	encode("operator, plain", plain, operator)
	full := jwt.NewOperatorClaims(public(operator))
	full.Name = "O <&> \u2028 \"quoted\" ümlaut"
	full.Audience = "NATS"
	full.Expires = 4102444800
	full.NotBefore = 1500000000
	full.SigningKeys.Add(public(operatorSigning))
	full.AccountServerURL = "nats://localhost:4222"
	full.OperatorServiceURLs.Add("nats://localhost:4222", "tls://example.com:4222")
	full.SystemAccount = public(system)
	full.AssertServerVersion = "2.10.0"
	full.StrictSigningKeyUsage = true
	full.Tags.Add("one", "two")
	encode("operator, full", full, operator)

	encode("account, plain", jwt.NewAccountClaims(public(account)), operator)
	encode("account, self-signed", jwt.NewAccountClaims(public(account)), account)
	rich := jwt.NewAccountClaims(public(account))
	rich.Name = "rich"
	rich.Description = "an account > others"
	rich.InfoURL = "https://example.com/a?b=c&d=e"
	rich.Limits.Conn, rich.Limits.LeafNodeConn, rich.Limits.Subs, rich.Limits.Payload = 10, 0, 100, 1<<20
	rich.Limits.DisallowBearer = true
	rich.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: 1 << 30, DiskStorage: -1, Streams: 5, Consumer: 7, MaxAckPending: 9, MemoryMaxStreamBytes: 11, DiskMaxStreamBytes: 13, MaxBytesRequired: true}
	rich.SigningKeys.Add(public(signing))
	scope := jwt.NewUserScope()
	scope.Key, scope.Role, scope.Description = public(scoped), "reader", "reads"
	scope.Template.Sub.Allow.Add("orders.>", "{{name()}}.*")
	scope.Template.Pub.Deny.Add(">")
	scope.Template.Payload = 512
	scope.Template.Resp = &jwt.ResponsePermission{MaxMsgs: 3, Expires: 2 * time.Second}
	rich.SigningKeys.AddScopedSigner(scope)
	rich.RevokeAt(public(user), time.Unix(1600000000, 0))
	rich.RevokeAt("*", time.Unix(1500000000, 0))
	rich.DefaultPermissions.Pub.Allow.Add("a.*", "b")
	rich.DefaultPermissions.Sub.Deny.Add("c queue.*")
	rich.DefaultPermissions.Resp = &jwt.ResponsePermission{MaxMsgs: -1, Expires: time.Minute}
	rich.Exports.Add(
		&jwt.Export{Name: "z", Subject: "z.*.>", Type: jwt.Service, ResponseType: jwt.ResponseTypeStream, ResponseThreshold: time.Second, AccountTokenPosition: 2, Latency: &jwt.ServiceLatency{Sampling: 50, Results: "lat"}, Advertise: true, Info: jwt.Info{Description: "d"}},
		&jwt.Export{Name: "a", Subject: "a.>", Type: jwt.Stream, TokenReq: true, Revocations: jwt.RevocationList{public(account): 5}})
	rich.Imports.Add(&jwt.Import{Name: "i", Subject: "x.*", Account: public(signing), LocalSubject: "y.$1", Type: jwt.Service, Share: true, AllowTrace: true})
	rich.AddMapping("foo", jwt.WeightedMapping{Subject: "bar", Weight: 60}, jwt.WeightedMapping{Subject: "baz", Weight: 40, Cluster: "c"})
	rich.EnableExternalAuthorization(public(user))
	rich.Authorization.AllowedAccounts.Add(public(signing))
	rich.Authorization.XKey = "XAB3NANV3M6N7AHSQP2U5FRWKKUT7EG2ZXXABV4XVXYQRJGM4S2CZGHT"
	rich.Trace = &jwt.MsgTrace{Destination: "trace.to", Sampling: 20}
	rich.ClusterTraffic = "owner"
	rich.Tags.Add("tag:value")
	encode("account, full", rich, operatorSigning)
	tiers := jwt.NewAccountClaims(public(account))
	tiers.Limits.JetStreamTieredLimits["R1"] = jwt.JetStreamLimits{DiskStorage: 1 << 20, Streams: 1}
	tiers.Limits.JetStreamTieredLimits["R3"] = jwt.JetStreamLimits{MemoryStorage: -1}
	encode("account, tiers", tiers, operator)

	plainUser := jwt.NewUserClaims(public(user))
	token := encode("user, plain", plainUser, account)
	fullUser := jwt.NewUserClaims(public(user))
	fullUser.Name = "joe"
	fullUser.Expires = 4102444800
	fullUser.IssuerAccount = public(account)
	fullUser.Pub.Allow.Add("p.>", "q")
	fullUser.Pub.Deny.Add("p.secret")
	fullUser.Sub.Allow.Add("s.* workers", ">")
	fullUser.Sub.Deny.Add("s.secret")
	fullUser.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: 5 * time.Minute}
	fullUser.Src.Add("192.168.0.0/16", "::1/128")
	fullUser.Times = []jwt.TimeRange{{Start: "01:15:00", End: "03:15:00"}, {Start: "22:00:00", End: "23:59:59"}}
	fullUser.Locale = "Europe/Paris"
	fullUser.Subs, fullUser.Data, fullUser.Limits.Payload = 3, 1000, 2048
	fullUser.BearerToken, fullUser.ProxyRequired = true, true
	fullUser.AllowedConnectionTypes.Add(jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket)
	fullUser.Tags.Add("region:eu", "team")
	encode("user, full", fullUser, signing)
	scopedUser := jwt.NewUserClaims(public(user))
	scopedUser.SetScoped(true)
	scopedUser.IssuerAccount = public(account)
	encode("user, scoped", scopedUser, scoped)

	activation := jwt.NewActivationClaims(public(signing))
	activation.ImportSubject, activation.ImportType = "a.>", jwt.Stream
	activation.IssuerAccount = public(account)
	encode("activation", activation, account)
	generic := jwt.NewGenericClaims(public(operator))
	generic.Data["accounts"] = []string{public(account)}
	encode("generic", generic, operator)

	// Version 1.
	oldOperator := v1.NewOperatorClaims(public(operator))
	oldOperator.Name = "old"
	oldOperator.SigningKeys.Add(public(operatorSigning))
	oldOperator.Tags.Add("tag")
	add("v1 operator", must(oldOperator.Encode(operator)), operator)
	oldAccount := v1.NewAccountClaims(public(account))
	oldAccount.Name = "old"
	oldAccount.Limits.Conn, oldAccount.Limits.Subs, oldAccount.Limits.Payload, oldAccount.Limits.WildcardExports = 5, -1, -1, true
	oldAccount.SigningKeys.Add(public(signing))
	oldAccount.Revocations = v1.RevocationList{public(user): 7}
	oldAccount.Exports.Add(&v1.Export{Name: "e", Subject: "e.>", Type: v1.Stream})
	oldAccount.Imports.Add(&v1.Import{Name: "i", Subject: "i.>", Account: public(signing), To: "to.here", Type: v1.Service})
	add("v1 account", must(oldAccount.Encode(operator)), operator)
	oldUser := v1.NewUserClaims(public(user))
	oldUser.Name = "old"
	oldUser.IssuerAccount = public(account)
	oldUser.Pub.Allow.Add("p.>")
	oldUser.Limits.Payload = 100
	oldUser.Limits.Src = "10.0.0.0/8,192.168.1.0/24"
	oldUser.Limits.Times = []v1.TimeRange{{Start: "01:00:00", End: "02:00:00"}}
	oldUser.BearerToken = true
	oldUser.Permissions.Resp = &v1.ResponsePermission{MaxMsgs: 1, Expires: time.Second}
	oldUser.Tags.Add("tag")
	add("v1 user", must(oldUser.Encode(signing)), signing)
	oldPlain := v1.NewUserClaims(public(user))
	add("v1 user, plain", must(oldPlain.Encode(account)), account)
	oldActivation := v1.NewActivationClaims(public(signing))
	oldActivation.ImportSubject, oldActivation.ImportType = "a.>", v1.Stream
	add("v1 activation", must(oldActivation.Encode(account)), account)

	text := must(jwt.FormatUserConfig(token, []byte(seed(user))))
	out.Creds = append(out.Creds, creds{string(text), token, public(user)})

	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	must(0, encoder.Encode(out))
}
