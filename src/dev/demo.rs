//! What a demo cluster is filled with.

use rustix::process::getuid;
use serde_json::json;
use signet_model::entry::{EntryId, EntrySpec, Selector};
use signet_model::spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};

use super::issuer::JWKS_PATH;
use super::plan::Plan;
use crate::cli::Failure;

/// `client_id` of the demo users' access tokens: the shop's web page.
pub(super) const CLIENT_ID: &str = "shop-web";

/// What the demo rule grants.
pub(super) const SCOPES: [&str; 3] = ["orders.read", "orders.write", "payments.read"];

/// The path of the gateway's identity, which exchanges the users' tokens.
pub(super) const GATEWAY: &str = "/gateway";

/// `aud` of the demo users' access tokens: the shop's API.
pub(super) fn audience(trust_domain: &str) -> String {
    format!("https://shop.{trust_domain}")
}

/// The demo entries: a host's agent may ask for the gateway's and the shop's identities.
///
/// # Errors
/// The trust domain is so long that an identity in it is not one.
pub(super) fn entries(trust_domain: &TrustDomain) -> Result<Vec<(Option<EntryId>, EntrySpec)>, Failure> {
    [("demo-gateway", GATEWAY), ("demo-orders", "/shop/orders"), ("demo-payments", "/shop/payments")]
        .into_iter()
        .map(|(id, path)| {
            let id =
                id.parse().map_err(|cause: signet_model::entry::EntryIdError| Failure::usage(cause.to_string()))?;
            let spec = spec(identity(trust_domain, path)?, identity(trust_domain, "/host/demo")?);
            Ok((Some(id), spec))
        })
        .collect()
}

/// An identity of the trust domain.
///
/// # Errors
/// The trust domain is so long that it is not one.
pub(super) fn identity(trust_domain: &TrustDomain, path: &str) -> Result<SpiffeId, Failure> {
    trust_domain.join(path).map_err(|cause: SpiffeIdError| Failure::usage(format!("--trust-domain: {cause}")))
}

fn spec(spiffe_id: SpiffeId, parent_id: SpiffeId) -> EntrySpec {
    EntrySpec {
        hint: spiffe_id.path().rsplit('/').next().unwrap_or_default().to_owned(),
        spiffe_id,
        parent_id,
        selectors: vec![Selector { kind: "unix".to_owned(), value: format!("uid:{}", getuid().as_raw()) }],
        x509_svid_ttl_secs: 0,
        jwt_svid_ttl_secs: 0,
        federates_with: Vec::new(),
        dns_names: Vec::new(),
        admin: false,
        downstream: false,
        store_svid: false,
        expires_at_secs: 0,
        disable_x509_svid_prefetch: false,
        jwt_svid_include_jti: false,
    }
}

/// The demo policy: the shop's workloads may exchange tokens of the demo issuer's users, and their own.
pub(super) fn policy(plan: &Plan) -> String {
    let (issuer, trust_domain) = (plan.demo_issuer(), plan.trust_domain.as_str());
    // JSON is YAML, and needs no care with quotes.
    let policy = json!({
        "issuers": [{
            "issuer": issuer,
            "jwks_uri": format!("{issuer}{JWKS_PATH}"),
            "algorithms": ["ES256"],
            "audiences": [audience(trust_domain)],
            "subject_prefix": "demo",
            "demo": true,
        }],
        "rules": [
            {
                "id": "demo-users",
                "callers": [format!("spiffe://{trust_domain}/*")],
                "subjects": { "issuers": [issuer], "audiences": [audience(trust_domain)] },
                "scopes": SCOPES,
                "lifetime": "60s",
            },
            {
                "id": "demo-workloads",
                "callers": [format!("spiffe://{trust_domain}/*")],
                "subjects": { "jwt_svids": [format!("spiffe://{trust_domain}/*")] },
                "scopes": SCOPES,
                "lifetime": "60s",
            },
        ],
    });
    serde_saphyr::to_string(&policy).unwrap_or_else(|_| policy.to_string())
}

#[cfg(test)]
mod tests {
    use signet_model::policy::Policy;

    use super::*;

    #[test]
    fn the_demo_policy_is_a_policy_and_only_its_issuer_is_a_demo() {
        let plan = Plan::new("dev.local".parse().unwrap()).unwrap();
        let policy = Policy::parse(&policy(&plan)).unwrap();
        assert_eq!((policy.issuers().len(), policy.rules().len()), (1, 2));
        let issuer = policy.issuer(&plan.demo_issuer()).unwrap();
        assert!(issuer.demo);
        assert_eq!(issuer.audiences, ["https://shop.dev.local"]);
    }

    #[test]
    fn the_demo_entries_are_entries_of_the_trust_domain() {
        let trust_domain: TrustDomain = "dev.local".parse().unwrap();
        let entries = entries(&trust_domain).unwrap();
        assert_eq!(entries.len(), 3);
        for (id, spec) in entries {
            assert!(id.is_some());
            assert!(spec.spiffe_id.is_member_of(&trust_domain) && spec.parent_id.is_member_of(&trust_domain));
        }
    }
}
