# Verifies a token of Keyswap with ruby-jwt: ruby ruby.rb ISSUER AUDIENCE TOKEN
# EdDSA needs a newer jwt than Debian's 2.5, and the gem jwt-eddsa.
require 'json'
require 'jwt'
require 'net/http'

issuer, audience, token = ARGV
metadata = JSON.parse(Net::HTTP.get(URI("#{issuer}/.well-known/openid-configuration")))
keys = nil
# Called again for a key it does not know.
loader = ->(options) { keys = nil if options[:kid_not_found]; keys ||= JSON.parse(Net::HTTP.get(URI(metadata['jwks_uri']))) }
begin
  payload, header = JWT.decode(
    token, nil, true,
    algorithms: %w[ES256 ES384 RS256 PS256], jwks: loader,
    iss: issuer, verify_iss: true, aud: audience, verify_aud: true,
    required_claims: %w[iss aud exp sub]
  )
  raise JWT::DecodeError, 'not an access token' unless header['typ'] == 'at+jwt'
  puts "#{payload['sub']} #{payload['scope']}"
rescue JWT::DecodeError => e
  abort "refused: #{e.message}"
end
