package test

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"cambio/standin"
	"cambio/test/rig"
)

func randReader() io.Reader { return rand.Reader }

// mustKey is a key of iss1.
func mustKey(t *testing.T, r *rig.Rig, kid string) standin.Key {
	t.Helper()
	k, ok := r.ISS1.Key(kid)
	if !ok {
		t.Fatalf("no key %s", kid)
	}
	return k
}

func attackPAR01(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	for name, token := range map[string]string{
		"dots": strings.Repeat(".", 1_000_000), "segments": strings.Repeat("a.", 500_000),
		"just above the body": strings.Repeat("a", 64<<10),
	} {
		malformedForm(t, name, r.Exchange(token), 413)
	}
	good := r.Token(nil)
	for name, token := range map[string]string{
		"trailing dots": good + strings.Repeat(".", 10_000), "one trailing dot": good + ".", "one leading dot": "." + good,
		"a large one": good + strings.Repeat("A", 16<<10), "16 KiB of dots": strings.Repeat(".", 16<<10), "16 KiB and one": strings.Repeat("a", 16<<10+1),
		"two dots": "..", "one dot": ".", "no dot": "a",
	} {
		malformedForm(t, name, r.Exchange(token), 400)
	}
	for name, token := range map[string]string{
		"leading space": " " + good, "trailing space": good + " ", "leading newline": "\n" + good, "trailing newline": good + "\n",
		"trailing CRLF": good + "\r\n", "tab": "\t" + good, "no-break space": good + "\u00a0", "byte order mark": "\ufeff" + good,
		"NUL": good + "\x00", "inner space": strings.Replace(good, ".", " .", 1), "inner newline": good[:50] + "\n" + good[50:],
	} {
		denied(t, r, name, r.Exchange(token), "malformed")
	}
	// None of this used the token up.
	if a := r.Exchange(good); a.Status != 200 {
		t.Errorf("the token itself: %s", a.Raw)
	}
	// A token of a size that no platform sends but the bounds allow.
	pads := map[string]any{"a": strings.Repeat("x", 3900), "b": strings.Repeat("x", 3900)}
	if a := r.Exchange(r.Token(pads)); a.Status != 200 {
		t.Errorf("a large token: %s", a.Raw)
	}
	r.Control()
}

func attackPAR02(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	payload := func(more string) string {
		b := string(jsonOf(t, r.Base(nil)))
		return strings.TrimSuffix(b, "}") + "," + more + "}"
	}
	first := func(more string) string {
		return "{" + more + "," + strings.TrimPrefix(string(jsonOf(t, r.Base(nil))), "{")
	}
	for _, member := range []string{
		`"sub":"evil"`, `"iss":"https://evil.test"`, `"aud":"other"`, `"aud":"https://gw.test"`, `"exp":4102444800`, `"repository_id":"3"`,
		`"repository_id":"2"`, `"s\u0075b":"evil"`, `"jti":"x"`, `"ref":null`, `"\u0072\u0065f":"refs/heads/main"`,
	} {
		denied(t, r, "last "+member, r.Exchange(withPayload(r, payload(member))), "duplicate-member")
		denied(t, r, "first "+member, r.Exchange(withPayload(r, first(member))), "duplicate-member")
	}
	for _, nested := range []string{`"x":{"a":1,"a":2}`, `"x":{"y":{"a":1,"b":2,"a":1}}`, `"x":[{"a":1,"a":1}]`, `"x":[[{"a":{},"a":[]}]]`, `"x":{"":1,"":2}`} {
		denied(t, r, nested, r.Exchange(withPayload(r, payload(nested))), "duplicate-member")
	}
	for _, header := range []string{
		`{"alg":"RS256","kid":"k1","alg":"RS256"}`, `{"alg":"none","alg":"RS256","kid":"k1"}`, `{"alg":"RS256","alg":"none","kid":"k1"}`,
		`{"alg":"RS256","kid":"k1","kid":"k2"}`, `{"alg":"RS256","kid":"k1","x":{"a":1,"a":1}}`, `{"alg":"RS256","kid":"k1","\u0061lg":"RS256"}`,
	} {
		denied(t, r, header, r.Exchange(withHeader(t, r, header, "k1", "RS256")), "duplicate-member")
	}
	// A member that another reader would take for the same.
	for _, member := range []string{`"SUB":"evil"`, `"Sub":"evil"`, `"\u017fub":"evil"`, `"ISS":"https://evil.test"`, `"Aud":"other"`} {
		a := r.Exchange(withPayload(r, payload(member)))
		if a.Status == 200 {
			// Then it must have meant nothing at all.
			if got := minted(t, a); got["sub"] != "spiffe://gw.test/iss1/1/2" {
				t.Errorf("%s: sub %v", member, got["sub"])
			}
			continue
		}
		denied(t, r, member, a, "any")
	}
	// What is no JSON object, or more than one.
	for name, p := range map[string]string{
		"two objects": string(jsonOf(t, r.Base(nil))) + "{}", "a list": `[]`, "null": `null`, "nothing": "", "trailing text": string(jsonOf(t, r.Base(nil))) + " x",
		"a comment": payload(`"x":1/**/`), "a trailing comma": payload(""), "bad UTF-8": payload("\"x\":\"\xff\""), "a lone surrogate": payload(`"x":"\ud800"`),
		"a byte order mark": "\ufeff" + string(jsonOf(t, r.Base(nil))), "NaN": payload(`"x":NaN`), "a leading zero": payload(`"x":01`),
		"deep": payload(`"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000)),
	} {
		denied(t, r, name, r.Exchange(withPayload(r, p)), "malformed")
	}
	r.Control()
}

func attackPAR04(t *testing.T) {
	r := rig.New(t, rig.Setup{Provider1: "algs: [RS256, ES256]"})
	r.Control()
	respell := func(token string) map[string]string {
		parts := strings.Split(token, ".")
		join := func(i int, s string) string {
			p := append([]string(nil), parts...)
			p[i] = s
			return strings.Join(p, ".")
		}
		out := map[string]string{}
		for i, name := range []string{"header", "payload", "signature"} {
			raw, err := base64.RawURLEncoding.DecodeString(parts[i])
			if err != nil {
				t.Fatal(err)
			}
			if std := base64.RawStdEncoding.EncodeToString(raw); std != parts[i] {
				out[name+" in the standard alphabet"] = join(i, std)
			}
			out[name+" with one ="] = join(i, parts[i]+"=")
			out[name+" with two =="] = join(i, parts[i]+"==")
			out[name+" with a newline"] = join(i, parts[i][:9]+"\n"+parts[i][9:])
			out[name+" with CRLF"] = join(i, parts[i]+"\r\n")
			out[name+" with a space"] = join(i, parts[i][:9]+" "+parts[i][9:])
			out[name+" cut within a byte"] = join(i, parts[i]+strings.Repeat("A", 5-len(parts[i])%4))
			if twin, ok := trailingBits(parts[i]); ok {
				out[name+" with trailing bits"] = join(i, twin)
			}
		}
		out["empty payload"] = join(1, "")
		out["empty header"] = join(0, "")
		return out
	}
	refusals := 0
	refuse := func(what, token string) {
		// Beyond 100 a minute and reason, the journal only counts.
		if refusals++; refusals < 90 {
			denied(t, r, what, r.Exchange(token), "malformed")
			return
		}
		r.Deny(r.Exchange(token))
	}
	for _, changes := range []map[string]any{nil, {"jti": nil}} {
		for alg, kid := range map[string]string{"RS256": "k1", "ES256": "k2"} {
			// Payloads of three lengths, so that trailing bits and padding come up.
			for _, pad := range []string{"", "a", "ab"} {
				c := r.Base(changes)
				c["pad"], c["n"] = pad, rand.Text() // without a jti, equal claims are one token
				token := r.Sign(r.ISS1, standin.JWS{Payload: jsonOf(t, c), Key: kid, Alg: alg})
				for name, twin := range respell(token) {
					refuse("before use: "+name, twin)
				}
				if a := r.Exchange(token); a.Status != 200 {
					t.Fatalf("the token itself: %s", a.Raw)
				}
				for name, twin := range respell(token) {
					refuse("after use: "+name, twin)
				}
				if alg == "ES256" {
					// The other signature of the same key over the same bytes.
					twin, err := r.ISS1.Malleate(kid, token)
					if err != nil {
						t.Fatal(err)
					}
					deniedSaying(t, r, "the second signature", r.Exchange(twin), alreadyUsed, "replayed")
				}
				deniedSaying(t, r, "the token again", r.Exchange(token), alreadyUsed, "replayed")
			}
		}
	}
	r.Control()
}

// alreadyUsed is what the holder of a used token is told.
const alreadyUsed = "This token was already used; fetch a fresh one for each exchange."

// trailingBits is another spelling of the same bytes, if there is one: the last
// character's unused bits set.
func trailingBits(s string) (string, bool) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(s)%4 < 2 {
		return "", false
	}
	return s[:len(s)-1] + string(alphabet[strings.IndexByte(alphabet, s[len(s)-1])+1]), true
}
