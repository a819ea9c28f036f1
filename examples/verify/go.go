// Verifies a token of Keyswap with go-oidc: go run go.go ISSUER AUDIENCE TOKEN [PERMISSION RESOURCE]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"regexp"
	"strings"

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
	var claims struct {
		Scope   string
		Details []detail `json:"authorization_details"`
	}
	check(verified.Claims(&claims))
	if len(os.Args) > 4 && !grants(claims.Details, os.Args[4], os.Args[5]) {
		log.Fatal("refused: not granted on the resource")
	}
	fmt.Println(verified.Subject, claims.Scope)
}

const detailType = "urn:keyswap:params:oauth:authorization-details:access"

type detail struct {
	Type      string   `json:"type"`
	Actions   []string `json:"actions"`
	Locations []string `json:"locations"`
}

var (
	origin = regexp.MustCompile(`(?i)^[a-z][a-z0-9+.-]*://[^/]+`)
	// An empty, `.` or `..` part, an escape that another server could decode again, or a character that no path has.
	ambiguous = regexp.MustCompile(`(?i)/\.{0,2}(;[^/]*)?(/|$)|%(2[aef5]|3b|5c)|[*?#\\\s]`)
)

// grants says whether a token has the permission on the resource: without details that say so, it has not.
func grants(details []detail, permission, resource string) bool {
	if ambiguous.MatchString(origin.ReplaceAllString(resource, "")) {
		return false
	}
	for _, one := range details {
		if one.Type != detailType || !contains(one.Actions, permission) {
			continue
		}
		for _, pattern := range one.Locations {
			if matches(pattern, resource) {
				return true
			}
		}
	}
	return false
}

// matches compares part by part. `*` matches one part, at the end one or more.
func matches(pattern, resource string) bool {
	wanted, parts := strings.Split(pattern, "/"), strings.Split(resource, "/")
	if wanted[len(wanted)-1] == "*" && len(parts) > len(wanted) {
		parts = parts[:len(wanted)]
	}
	if len(wanted) != len(parts) {
		return false
	}
	for at, one := range wanted {
		if one != "*" && one != parts[at] {
			return false
		}
	}
	return true
}

func contains(all []string, wanted string) bool {
	for _, one := range all {
		if one == wanted {
			return true
		}
	}
	return false
}

func check(err error) {
	if err != nil {
		log.Fatal("refused: ", err)
	}
}
