# Verifies a token of Keyswap with ruby-jwt: ruby ruby.rb ISSUER AUDIENCE TOKEN [PERMISSION RESOURCE]
# EdDSA needs a newer jwt than Debian's 2.5, and the gem jwt-eddsa.
require 'json'
require 'jwt'
require 'net/http'

DETAIL_TYPE = 'urn:keyswap:params:oauth:authorization-details:access'
# An empty, `.` or `..` part, an escape that another server could decode again, or a character that no path has.
AMBIGUOUS = %r{/\.{0,2}(;[^/]*)?(/|\z)|%(2[aef5]|3b|5c)|[*?#\\\s]}i

# Whether the token has the permission on the resource: without `authorization_details` that say so, it has not.
def grants?(claims, permission, resource)
  return false if resource.sub(%r{\A[a-z][a-z0-9+.-]*://[^/]+}i, '').match?(AMBIGUOUS)

  claims.fetch('authorization_details', []).any? do |detail|
    detail['type'] == DETAIL_TYPE && detail['actions'].include?(permission) &&
      detail['locations'].any? { |pattern| matches?(pattern, resource) }
  end
end

# Compares part by part. `*` matches one part, at the end one or more.
def matches?(pattern, resource)
  wanted, parts = pattern.split('/', -1), resource.split('/', -1)
  parts = parts.first(wanted.size) if wanted.last == '*'
  wanted.size == parts.size && wanted.zip(parts).all? { |one, part| ['*', part].include?(one) }
end

issuer, audience, token, permission, resource = ARGV
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
  raise JWT::DecodeError, 'not granted on the resource' if resource && !grants?(payload, permission, resource)
  puts "#{payload['sub']} #{payload['scope']}"
rescue JWT::DecodeError => e
  abort "refused: #{e.message}"
end
