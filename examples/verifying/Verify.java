// Verifies tokens of Keyswap from standard input: java -cp … Verify.java ISSUER AUDIENCE PERMISSION [RESOURCE]
// With the JDK (15 or later) and Jackson (jackson-databind); ES256, PS256 and RS256.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.security.spec.RSAPublicKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Scanner;
import java.util.regex.Pattern;
import java.util.zip.InflaterInputStream;

/** One for the whole service: it caches the keys and the lists. */
public class Verify {
    static final Duration KEEP = Duration.ofMinutes(5); // how long keys are used
    static final Duration COOL_DOWN = Duration.ofSeconds(30); // how often, at most, an unknown `kid` has them fetched
    static final int LEEWAY = 30;
    static final String DETAIL_TYPE = "urn:keyswap:params:oauth:authorization-details:access";
    /** An empty, `.` or `..` part, an escape that another server could decode again, or a character that no path has. */
    static final Pattern AMBIGUOUS =
        Pattern.compile("(?i)/\\.{0,2}(;[^/]*)?(/|$)|%(2[aef5]|3b|5c)|[*?#\\\\\\s]");

    record StatusList(Instant until, int bits, byte[] packed) {}

    final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
    final ObjectMapper json = new ObjectMapper();
    final String issuer, audience;
    final Map<String, StatusList> lists = new HashMap<>();
    Map<String, JsonNode> keys = Map.of();
    Instant until = Instant.EPOCH, asked = Instant.EPOCH;

    Verify(String issuer, String audience) {
        this.issuer = issuer;
        this.audience = audience;
    }

    /** The claims of a token that is in force and has the permission: on the resource unless it is null, then everywhere. */
    JsonNode verify(String token, String permission, String resource) throws Exception {
        JsonNode claims = decode(token, "at+jwt");
        boolean isForUs = claims.path("aud").asText().equals(audience);
        for (JsonNode one : claims.path("aud")) isForUs |= one.asText().equals(audience);
        require(isForUs, "for another audience");
        require(claims.path("sub").isTextual(), "no subject");
        if (resource == null) {
            require(Arrays.asList(claims.path("scope").asText().split(" ")).contains(permission), "the scope is missing");
        } else {
            require(grants(claims, permission, resource), "not granted on the resource");
        }
        JsonNode place = claims.path("status").path("status_list");
        require(place.isMissingNode() || status(place) == 0, "revoked or suspended");
        return claims;
    }

    /** Whether the token has the permission on the resource: without `authorization_details` that say so, it has not. */
    static boolean grants(JsonNode claims, String permission, String resource) {
        if (AMBIGUOUS.matcher(resource.replaceFirst("(?i)^[a-z][a-z0-9+.-]*://[^/]+", "")).find()) return false;
        for (JsonNode detail : claims.path("authorization_details")) {
            boolean isWanted = false;
            for (JsonNode action : detail.path("actions")) isWanted |= action.asText().equals(permission);
            if (!isWanted || !detail.path("type").asText().equals(DETAIL_TYPE)) continue;
            for (JsonNode pattern : detail.path("locations")) {
                if (matches(pattern.asText().split("/", -1), resource.split("/", -1))) return true;
            }
        }
        return false;
    }

    /** Compares part by part. `*` matches one part, at the end one or more. */
    static boolean matches(String[] wanted, String[] parts) {
        boolean isOpen = wanted[wanted.length - 1].equals("*") && parts.length >= wanted.length;
        if (!isOpen && wanted.length != parts.length) return false;
        for (int at = 0; at < wanted.length; at++) {
            if (!wanted[at].equals("*") && !wanted[at].equals(parts[at])) return false;
        }
        return true;
    }

    JsonNode decode(String token, String typ) throws Exception {
        String[] parts = token.split("\\.", -1);
        require(parts.length == 3, "not a JWT");
        JsonNode header = json.readTree(bytes(parts[0]));
        require(header.path("typ").asText().equals(typ) && !header.has("crit"), "not of type " + typ);
        JsonNode key = key(header.path("kid").asText());
        String algorithm = key.path("alg").asText();
        require(header.path("alg").asText().equals(algorithm), "not the algorithm of the key");
        Signature signature = signature(algorithm);
        signature.initVerify(publicKey(key));
        signature.update((parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII));
        require(signature.verify(bytes(parts[2])), "the signature is wrong");
        JsonNode claims = json.readTree(bytes(parts[1]));
        require(claims.path("iss").asText().equals(issuer), "of another issuer");
        require(claims.path("exp").asLong() + LEEWAY > Instant.now().getEpochSecond(), "expired");
        return claims;
    }

    synchronized JsonNode key(String kid) throws Exception {
        Instant now = Instant.now();
        if (now.isAfter(until) || !keys.containsKey(kid) && now.isAfter(asked.plus(COOL_DOWN))) {
            asked = now;
            Map<String, JsonNode> found = new HashMap<>();
            for (JsonNode key : json.readTree(get(issuer + "/.well-known/jwks.json")).path("keys")) {
                found.put(key.path("kid").asText(), key);
            }
            keys = found;
            until = now.plus(KEEP);
        }
        require(keys.containsKey(kid), "unknown key");
        return keys.get(kid);
    }

    synchronized int status(JsonNode place) throws Exception {
        String uri = place.path("uri").asText();
        StatusList list = lists.get(uri);
        if (list == null || Instant.now().isAfter(list.until)) {
            require(uri.startsWith(issuer + "/v1/status-lists/"), "not a list of the issuer");
            JsonNode claims = decode(get(uri), "statuslist+jwt");
            require(claims.path("sub").asText().equals(uri), "another list");
            byte[] lst = bytes(claims.path("status_list").path("lst").asText());
            byte[] packed = new InflaterInputStream(new ByteArrayInputStream(lst)).readAllBytes();
            Instant until = Instant.now().plusSeconds(claims.path("ttl").asLong());
            list = new StatusList(until, claims.path("status_list").path("bits").asInt(), packed);
            lists.put(uri, list);
        }
        int index = Math.multiplyExact(place.path("idx").asInt(-1), list.bits); // beyond the end: an exception
        return list.packed[Math.floorDiv(index, 8)] >> Math.floorMod(index, 8) & (1 << list.bits) - 1;
    }

    static Signature signature(String algorithm) throws GeneralSecurityException {
        switch (algorithm) {
            case "ES256": return Signature.getInstance("SHA256withECDSAinP1363Format");
            case "RS256": return Signature.getInstance("SHA256withRSA");
            case "PS256":
                Signature signature = Signature.getInstance("RSASSA-PSS");
                signature.setParameter(new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));
                return signature;
            default: throw new GeneralSecurityException("an algorithm that is not on the list");
        }
    }

    static PublicKey publicKey(JsonNode key) throws GeneralSecurityException {
        if (key.path("kty").asText().equals("RSA")) {
            return KeyFactory.getInstance("RSA").generatePublic(new RSAPublicKeySpec(number(key, "n"), number(key, "e")));
        }
        AlgorithmParameters curve = AlgorithmParameters.getInstance("EC");
        curve.init(new ECGenParameterSpec("secp256r1"));
        ECPoint point = new ECPoint(number(key, "x"), number(key, "y"));
        ECPublicKeySpec spec = new ECPublicKeySpec(point, curve.getParameterSpec(ECParameterSpec.class));
        return KeyFactory.getInstance("EC").generatePublic(spec);
    }

    static BigInteger number(JsonNode key, String member) {
        return new BigInteger(1, bytes(key.path(member).asText()));
    }

    static byte[] bytes(String text) {
        return Base64.getUrlDecoder().decode(text);
    }

    String get(String uri) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(uri)).timeout(Duration.ofSeconds(5)).build();
        var answer = http.send(request, BodyHandlers.ofString());
        if (answer.statusCode() != 200) throw new IOException(uri + ": " + answer.statusCode());
        return answer.body();
    }

    static void require(boolean holds, String why) throws GeneralSecurityException {
        if (!holds) throw new GeneralSecurityException(why);
    }

    public static void main(String[] arguments) {
        Verify verifier = new Verify(arguments[0], arguments[1]);
        String resource = arguments.length > 3 ? arguments[3] : null;
        for (Scanner tokens = new Scanner(System.in); tokens.hasNextLine(); ) {
            try {
                System.out.println(verifier.verify(tokens.nextLine(), arguments[2], resource).path("sub").asText());
            } catch (Exception error) { // any error: a token that cannot be verified is refused
                System.out.println("refused: " + error.getMessage());
            }
        }
    }
}
