// Verifies tokens of Keyswap from standard input: go run go.go ISSUER AUDIENCE PERMISSION [RESOURCE]
package main

import (
	"bufio"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"gopkg.in/square/go-jose.v2" // Debian's; with modules: github.com/go-jose/go-jose/v3, and its jwt
	"gopkg.in/square/go-jose.v2/jwt"
)

const (
	keep     = 5 * time.Minute  // how long keys are used
	coolDown = 30 * time.Second // how often, at most, an unknown `kid` has them fetched
	leeway   = 30 * time.Second
)

var algorithms = map[string]bool{"ES256": true, "ES384": true, "EdDSA": true, "RS256": true, "PS256": true}

var client = &http.Client{Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
	return http.ErrUseLastResponse
}}

// Verifier is one for the whole service: it caches the keys and the lists.
type Verifier struct {
	issuer, audience string
	ofKeys, ofLists  sync.Mutex // locked during a fetch, so that concurrent requests share it
	keys             jose.JSONWebKeySet
	until, asked     time.Time
	lists            map[string]list
}

type list struct {
	until  time.Time
	bits   int
	packed []byte
}

type claims struct {
	jwt.Claims
	Scope   string   `json:"scope"` // go-jose tells capitals from small letters: each needs its name
	Details []detail `json:"authorization_details"`
	Status  struct {
		List *struct {
			Idx int    `json:"idx"`
			URI string `json:"uri"`
		} `json:"status_list"`
	} `json:"status"`
}

// Verify hands back the claims of a token that is in force and has the permission: on the resource if there is one,
// otherwise everywhere.
func (v *Verifier) Verify(token, permission string, resource ...string) (*claims, error) {
	var found claims
	if err := v.decode(token, "at+jwt", &found); err != nil {
		return nil, err
	}
	expected := jwt.Expected{Issuer: v.issuer, Audience: jwt.Audience{v.audience}, Time: time.Now()}
	if err := found.ValidateWithLeeway(expected, leeway); err != nil {
		return nil, err
	}
	if found.Expiry == nil || found.Subject == "" {
		return nil, errors.New("a claim is missing")
	}
	if len(resource) == 0 && !contains(strings.Split(found.Scope, " "), permission) {
		return nil, errors.New("the scope is missing")
	}
	for _, one := range resource {
		if !grants(found.Details, permission, one) {
			return nil, errors.New("not granted on the resource")
		}
	}
	if place := found.Status.List; place != nil {
		if status, err := v.status(place.Idx, place.URI); err != nil {
			return nil, err
		} else if status != 0 {
			return nil, errors.New("revoked or suspended")
		}
	}
	return &found, nil
}

func (v *Verifier) decode(token, typ string, into interface{}) error {
	parsed, err := jwt.ParseSigned(token)
	if err != nil {
		return err
	}
	header := parsed.Headers[0]
	if header.ExtraHeaders["typ"] != typ {
		return errors.New("not of type " + typ)
	}
	key, err := v.key(header.KeyID)
	if err != nil {
		return err
	}
	if header.Algorithm != key.Algorithm || !algorithms[key.Algorithm] {
		return errors.New("not the algorithm of the key")
	}
	return parsed.Claims(key, into)
}

func (v *Verifier) key(kid string) (*jose.JSONWebKey, error) {
	v.ofKeys.Lock()
	defer v.ofKeys.Unlock()
	found := v.keys.Key(kid)
	now := time.Now()
	if now.After(v.until) || len(found) == 0 && now.After(v.asked.Add(coolDown)) {
		v.asked = now
		text, err := get(v.issuer + "/.well-known/jwks.json")
		if err != nil {
			return nil, err
		}
		var keys jose.JSONWebKeySet
		if err := json.Unmarshal(text, &keys); err != nil {
			return nil, err
		}
		v.keys, v.until = keys, now.Add(keep)
		found = keys.Key(kid)
	}
	if len(found) != 1 {
		return nil, errors.New("unknown key")
	}
	return &found[0], nil
}

func (v *Verifier) status(idx int, uri string) (byte, error) {
	v.ofLists.Lock()
	defer v.ofLists.Unlock()
	known := v.lists[uri]
	if time.Now().After(known.until) {
		if !strings.HasPrefix(uri, v.issuer+"/v1/status-lists/") {
			return 0, errors.New("not a list of the issuer")
		}
		text, err := get(uri)
		if err != nil {
			return 0, err
		}
		var said struct {
			jwt.Claims
			TTL  int64 `json:"ttl"`
			List struct {
				Bits int    `json:"bits"`
				Lst  string `json:"lst"`
			} `json:"status_list"`
		}
		if err := v.decode(string(text), "statuslist+jwt", &said); err != nil {
			return 0, err
		}
		expected := jwt.Expected{Issuer: v.issuer, Subject: uri, Time: time.Now()}
		if err := said.ValidateWithLeeway(expected, leeway); err != nil {
			return 0, err
		}
		inflated, err := zlib.NewReader(base64.NewDecoder(base64.RawURLEncoding, strings.NewReader(said.List.Lst)))
		if err != nil {
			return 0, err
		}
		known = list{until: time.Now().Add(time.Duration(said.TTL) * time.Second), bits: said.List.Bits}
		if known.packed, err = io.ReadAll(inflated); err != nil {
			return 0, err
		}
		v.lists[uri] = known
	}
	place := idx * known.bits
	if place < 0 || place/8 >= len(known.packed) {
		return 0, errors.New("not in the list")
	}
	return known.packed[place/8] >> (place % 8) & (1<<known.bits - 1), nil
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

func get(url string) ([]byte, error) {
	answer, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New(url + ": " + answer.Status)
	}
	return io.ReadAll(answer.Body)
}

func main() {
	verifier := Verifier{issuer: os.Args[1], audience: os.Args[2], lists: map[string]list{}}
	for tokens := bufio.NewScanner(os.Stdin); tokens.Scan(); {
		found, err := verifier.Verify(tokens.Text(), os.Args[3], os.Args[4:]...)
		if err != nil { // any error: a token that cannot be verified is refused
			fmt.Println("refused:", err)
			continue
		}
		fmt.Println(found.Subject)
	}
}
