package oidc_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"cambio/providers/oidc"
	"cambio/trust"
)

// TestForm tries tokens that are refused before an identity provider is looked
// for, or for their header.
func TestForm(t *testing.T) {
	s := newSet(t, config(provider()))
	good := rs256(base())
	refused(t, s, good, "")
	seg := strings.Split(good, ".")
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	head := func(h string) string { return sign("RS256", keys().rsa, []byte(h), asJSON(base())) }
	body := func(p string) string {
		return sign("RS256", keys().rsa, []byte(`{"alg":"RS256","kid":"k1"}`), []byte(p))
	}
	claims := string(asJSON(base()))
	const (
		malformed = trust.ReasonMalformed
		duplicate = trust.ReasonDuplicateMember
		forbidden = trust.ReasonHeaderForbidden
	)
	for name, c := range map[string]struct {
		token string
		want  trust.Reason
	}{
		"empty":            {"", malformed},
		"opaque":           {"gho_opaque", malformed},
		"a million dots":   {strings.Repeat(".", 1_000_000), trust.ReasonTooLarge},
		"many dots":        {strings.Repeat("a.", 8000), malformed},
		"trailing dots":    {good + strings.Repeat(".", 1000), malformed},
		"at the limit":     {strings.Repeat("a", 16<<10), malformed},
		"above the limit":  {strings.Repeat("a", 16<<10+1), trust.ReasonTooLarge},
		"four dots":        {join(seg[0], seg[1], seg[2], "", ""), malformed},
		"one dot":          {join(seg[0], seg[1]), malformed},
		"leading space":    {" " + good, malformed},
		"trailing newline": {good + "\n", malformed},
		"inner newline":    {join(seg[0], seg[1][:8]+"\n"+seg[1][8:], seg[2]), malformed},
		"inner CRLF":       {join(seg[0], seg[1], seg[2][:8]+"\r\n"+seg[2][8:]), malformed},
		"padding":          {join(seg[0]+"=", seg[1], seg[2]), malformed},
		"standard base64":  {join(seg[0], seg[1], "+/"+seg[2][2:]), malformed},
		"trailing bits":    {join(seg[0], seg[1], seg[2][:len(seg[2])-1]+next(seg[2])), malformed},
		"empty header":     {join("", seg[1], seg[2]), malformed},
		"empty payload":    {join(seg[0], "", seg[2]), malformed},
		"empty signature":  {join(seg[0], seg[1], ""), trust.ReasonSignature},
		"JSON flattened":   {`{"payload":"` + seg[1] + `","protected":"` + seg[0] + `","signature":"` + seg[2] + `"}`, malformed},

		"header array":        {head(`[]`), malformed},
		"header duplicate":    {head(`{"alg":"RS256","alg":"none"}`), duplicate},
		"header other member": {head(`{"alg":"RS256","kid":"k1","cty":"JWT","x":{"y":1}}`), ""},
		"jku":                 {head(`{"alg":"RS256","kid":"k1","jku":"http://collector.test"}`), forbidden},
		"jwk":                 {head(`{"alg":"RS256","kid":"k1","jwk":{}}`), forbidden},
		"x5u":                 {head(`{"alg":"RS256","kid":"k1","x5u":""}`), forbidden},
		"x5c":                 {head(`{"alg":"RS256","kid":"k1","x5c":[]}`), forbidden},
		"crit":                {head(`{"alg":"RS256","kid":"k1","crit":["exp"]}`), forbidden},
		"empty crit":          {head(`{"alg":"RS256","kid":"k1","crit":[]}`), forbidden},
		"null crit":           {head(`{"alg":"RS256","kid":"k1","crit":null}`), forbidden},
		"b64":                 {head(`{"alg":"RS256","kid":"k1","b64":false}`), forbidden},
		"zip":                 {head(`{"alg":"RS256","kid":"k1","zip":"DEF"}`), forbidden},
		"enc":                 {head(`{"alg":"RS256","kid":"k1","enc":"A256GCM"}`), forbidden},

		"kid number":    {head(`{"alg":"RS256","kid":0}`), malformed},
		"kid object":    {head(`{"alg":"RS256","kid":{"a":1}}`), malformed},
		"kid empty":     {head(`{"alg":"RS256","kid":""}`), malformed},
		"kid NUL":       {head(`{"alg":"RS256","kid":"k1\u0000x"}`), malformed},
		"kid CRLF":      {head(`{"alg":"RS256","kid":"k1\r\nX: y"}`), malformed},
		"kid long":      {head(`{"alg":"RS256","kid":"` + strings.Repeat("k", 257) + `"}`), malformed},
		"kid path":      {head(`{"alg":"RS256","kid":"../../../../dev/null"}`), trust.ReasonKidUnknown},
		"kid SQL":       {head(`{"alg":"RS256","kid":"k1' OR '1'='1"}`), trust.ReasonKidUnknown},
		"kid file":      {head(`{"alg":"RS256","kid":"file:///etc/passwd"}`), trust.ReasonKidUnknown},
		"kid proto":     {head(`{"alg":"RS256","kid":"__proto__"}`), trust.ReasonKidUnknown},
		"kid at 256":    {head(`{"alg":"RS256","kid":"` + strings.Repeat("k", 256) + `"}`), trust.ReasonKidUnknown},
		"kid elsewhere": {head(`{"alg":"RS256","KID":"k1"}`), ""}, // no kid, and one RSA key

		"typ none":          {head(`{"alg":"RS256","kid":"k1"}`), ""},
		"typ lower case":    {head(`{"alg":"RS256","kid":"k1","typ":"jwt"}`), ""},
		"typ long form":     {head(`{"alg":"RS256","kid":"k1","typ":"application/JWT"}`), ""},
		"typ access token":  {head(`{"alg":"RS256","kid":"k1","typ":"at+jwt"}`), ""},
		"typ logout":        {head(`{"alg":"RS256","kid":"k1","typ":"logout+jwt"}`), trust.ReasonTypNotAllowed},
		"typ DPoP":          {head(`{"alg":"RS256","kid":"k1","typ":"dpop+jwt"}`), trust.ReasonTypNotAllowed},
		"typ JOSE":          {head(`{"alg":"RS256","kid":"k1","typ":"JOSE"}`), trust.ReasonTypNotAllowed},
		"typ twice prefix":  {head(`{"alg":"RS256","kid":"k1","typ":"application/application/jwt"}`), trust.ReasonTypNotAllowed},
		"typ number":        {head(`{"alg":"RS256","kid":"k1","typ":1}`), malformed},
		"typ empty":         {head(`{"alg":"RS256","kid":"k1","typ":""}`), malformed},
		"alg number":        {head(`{"alg":256,"kid":"k1"}`), malformed},
		"payload array":     {body(`[]`), malformed},
		"payload text":      {body(`hello`), malformed},
		"payload trailing":  {body(claims + "x"), malformed},
		"payload UTF-8":     {body(claims[:len(claims)-1] + ",\"x\":\"\xff\"}"), malformed},
		"payload first":     {body(`{"sub":"evil",` + claims[1:]), duplicate},
		"payload last":      {body(claims[:len(claims)-1] + `,"sub":"evil"}`), duplicate},
		"payload escaped":   {body(claims[:len(claims)-1] + `,"s\u0075b":"evil"}`), duplicate},
		"payload nested":    {body(claims[:len(claims)-1] + `,"x":[{"a":1,"a":2}]}`), duplicate},
		"payload deep":      {body(claims[:len(claims)-1] + `,"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`), malformed},
		"payload long":      {body(claims[:len(claims)-1] + `,"x":"` + strings.Repeat("a", 4097) + `"}`), malformed},
		"payload other sub": {body(claims[:len(claims)-1] + `,"SUB":"evil"}`), trust.ReasonClaimInvalid},
		"payload other iss": {body(claims[:len(claims)-1] + `,"Iss":"https://evil.test"}`), trust.ReasonClaimInvalid},
	} {
		t.Run(name, func(t *testing.T) { refused(t, s, c.token, c.want) })
	}
}

// next is another last character that decodes to the same bytes: the signature
// of a 2048 bit key leaves four bits unused.
func next(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, s[len(s)-1])
	return alphabet[i+1 : i+2]
}

// TestAllocations holds the parser to one bounded pass over hostile dots.
func TestAllocations(t *testing.T) {
	dots := strings.Repeat(".", 16<<10)
	if n := testing.AllocsPerRun(10, func() {
		if _, _, _, _, err := oidc.ParseToken(dots); err == nil {
			t.Error("accepted")
		}
	}); n > 10 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzToken: a token that parses has one spelling, and a refused one no value.
func FuzzToken(f *testing.F) {
	f.Add(rs256(base()))
	f.Add("e30.e30.")
	f.Add("e30.e30.AA")
	f.Add("e30.e30.AB")
	f.Add("a.b.c.d.e")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	s := newSet(f, config(provider()))
	f.Fuzz(func(t *testing.T, raw string) {
		signed, payload, sig, claims, err := oidc.ParseToken(raw)
		if err != nil {
			if signed != "" || payload != nil || sig != nil || claims != nil {
				t.Fatal("an error and a value")
			}
			proof, err := s.Verify(context.Background(), raw)
			if err == nil || proof.Provider != "" || proof.ReplayKey != "" {
				t.Fatalf("a token that does not parse: %v, %v", proof, err)
			}
			return
		}
		head, _, _ := strings.Cut(signed, ".")
		enc := base64.RawURLEncoding
		if again := head + "." + enc.EncodeToString(payload) + "." + enc.EncodeToString(sig); again != raw {
			t.Fatalf("%q is also spelled %q", raw, again)
		}
		proof, err := s.Verify(context.Background(), raw)
		if (err == nil) != (proof.ReplayKey != "" && proof.Workload != "") {
			t.Fatalf("%v with %v", proof, err)
		}
	})
}
