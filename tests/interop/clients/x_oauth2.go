// golang.org/x/oauth2, which finds out by trial how the server wants the credentials: ISSUER CLIENT_ID KEY AUDIENCE
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/url"
	"os"

	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	config := clientcredentials.Config{
		ClientID:       os.Args[2],
		ClientSecret:   os.Args[3],
		TokenURL:       os.Args[1] + "/oauth/token",
		Scopes:         []string{"projects:read"},
		EndpointParams: url.Values{"audience": {os.Args[4]}},
	}
	token, err := config.Token(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"access_token": token.AccessToken,
		"token_type":   token.TokenType,
		"expires_in":   token.Extra("expires_in"),
		"scope":        token.Extra("scope"),
	})
}
