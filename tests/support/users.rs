//! An issuer of users' access tokens (RFC 9068), with its keys at a URL.

use aws_lc_rs::digest::{SHA256, digest};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::clock::now_secs;

/// Issues users' tokens while its test runs.
pub(crate) struct Users {
    pub(crate) issuer: String,
    key_id: String,
    key: EncodingKey,
}

impl Users {
    /// Starts the issuer on a port of its own.
    pub(crate) async fn start() -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let point = pair.public_key_raw();
        let part = |range: std::ops::Range<usize>| BASE64_URL_SAFE_NO_PAD.encode(&point[range]);
        let key_id = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, point));
        let jwk = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key_id, "x": part(1..33), "y": part(33..65)});
        let jwks = json!({"keys": [jwk]});
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().route("/keys", get(async move || axum::Json(jwks)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { issuer, key_id, key: EncodingKey::from_ec_der(&pair.serialize_der()) }
    }

    /// Where its keys are.
    pub(crate) fn jwks_uri(&self) -> String {
        format!("{}/keys", self.issuer)
    }

    /// A user's access token for `audience`, good for ten minutes.
    pub(crate) fn token(&self, user: &str, audience: &str, scope: &str) -> String {
        self.token_for(600, user, audience, scope)
    }

    /// The same, good for so many seconds.
    pub(crate) fn token_for(&self, seconds: u64, user: &str, audience: &str, scope: &str) -> String {
        let now = now_secs();
        self.sign(&json!({
            "iss": self.issuer, "sub": user, "aud": audience, "client_id": "shop-web", "scope": scope,
            "iat": now, "exp": now + seconds, "jti": format!("{user}-{now}"),
        }))
    }

    /// Any claims at all, properly signed.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// A policy by which `caller` may exchange tokens of `issuer` for [`AUDIENCE`], with the scopes of [`SCOPES`].
pub(crate) fn policy(issuer: &str, jwks_uri: &str, caller: &str) -> String {
    json!({
        "issuers": [{"issuer": issuer, "jwks_uri": jwks_uri, "algorithms": ["ES256"], "audiences": [AUDIENCE]}],
        "rules": [{
            "id": "shop",
            "callers": [caller],
            "subjects": {"issuers": [issuer], "audiences": [AUDIENCE]},
            "scopes": SCOPES,
            "lifetime": "60s",
        }],
    })
    .to_string()
}

/// `aud` of the users' tokens: the caller's own API.
pub(crate) const AUDIENCE: &str = "https://shop.example.org";
/// What the policy lets pass.
pub(crate) const SCOPES: [&str; 2] = ["orders.read", "orders.write"];
