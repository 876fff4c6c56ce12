"""Verifies a token with PyPI joserfc, from the keys that a node publishes.

Standard input: {token, keys, use, issuer, audience, typ}. Standard output: {header, claims}. The argument names the
trust anchors of the node's TLS.
"""
import json
import ssl
import sys
import urllib.request

from joserfc import jwt
from joserfc.jwk import KeySet

wanted = json.load(sys.stdin)
tls = ssl.create_default_context(cafile=sys.argv[1])
with urllib.request.urlopen(wanted["keys"], context=tls, timeout=10) as answer:
    published = json.load(answer)

# In a SPIFFE bundle `use` says what kind of SVID a key is for, which JOSE libraries do not know.
keys = [key for key in published["keys"] if key.get("use") == wanted["use"]]
if wanted["use"] != "sig":
    keys = [{name: value for name, value in key.items() if name != "use"} for key in keys]

token = jwt.decode(wanted["token"], KeySet.import_key_set({"keys": keys}), algorithms=["ES256", "ES384", "RS256", "EdDSA"])
if wanted.get("typ") and token.header.get("typ") != wanted["typ"]:
    sys.exit(f"typ is {token.header.get('typ')!r}")
rules = {
    "aud": {"essential": True, "value": wanted["audience"]},
    "exp": {"essential": True},
    "iat": {"essential": True},
    "sub": {"essential": True},
}
if wanted.get("issuer"):
    rules["iss"] = {"essential": True, "value": wanted["issuer"]}
jwt.JWTClaimsRegistry(**rules).validate(token.claims)
print(json.dumps({"header": token.header, "claims": token.claims}))
