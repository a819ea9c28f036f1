// Verifies a token of Keyswap with go-oidc: go run go.go ISSUER AUDIENCE TOKEN
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/coreos/go-oidc"  // Debian's; with modules: github.com/coreos/go-oidc/v3/oidc
	"gopkg.in/square/go-jose.v2" // with modules: github.com/go-jose/go-jose/v3
)

func main() {
	issuer, audience, token := os.Args[1], os.Args[2], os.Args[3]
	provider, err := oidc.NewProvider(context.Background(), issuer) // keep it: it caches the keys
	check(err)
	algorithms := []string{"ES256", "ES384", "EdDSA", "RS256", "PS256"}
	verified, err := provider.Verifier(&oidc.Config{ClientID: audience, SupportedSigningAlgs: algorithms}).
		Verify(context.Background(), token)
	check(err)
	parsed, err := jose.ParseSigned(token)
	check(err)
	if parsed.Signatures[0].Header.ExtraHeaders["typ"] != "at+jwt" {
		log.Fatal("refused: not an access token")
	}
	var claims struct{ Scope string }
	check(verified.Claims(&claims))
	fmt.Println(verified.Subject, claims.Scope)
}

func check(err error) {
	if err != nil {
		log.Fatal("refused: ", err)
	}
}
