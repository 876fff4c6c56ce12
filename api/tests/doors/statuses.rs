//! Every reason as callers see it, golden.

use serde_json::Value;
use signet_api::status;
use signet_model::refusal::{Reason, Refusal};
use tonic::Request;

use signet_api::proto::bundle::GetBundleRequest;
use signet_api::proto::bundle::bundle_client::BundleClient;

use crate::node::Node;

/// Code, gRPC status, HTTP status.
const GOLDEN: &[(&str, i32, u16)] = &[
    ("invalid_argument", 3, 400),
    ("not_found", 5, 404),
    ("already_exists", 6, 409),
    ("permission_denied", 7, 403),
    ("unauthenticated", 16, 401),
    ("failed_precondition", 9, 409),
    ("conflict", 10, 409),
    ("resource_exhausted", 8, 429),
    ("no_quorum", 14, 503),
    ("lease_expired", 14, 503),
    ("sealed", 14, 503),
    ("not_initialized", 14, 503),
    ("deadline_exceeded", 4, 504),
    ("unimplemented", 12, 501),
    ("internal", 13, 500),
    ("join_token_refused", 7, 403),
    ("shutting_down", 14, 503),
    ("idempotency_key_reused", 3, 422),
];

#[test]
fn the_table_names_every_reason() {
    let table: Vec<_> = GOLDEN.iter().map(|(code, ..)| *code).collect();
    let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(table, reasons);
}

#[tokio::test]
async fn every_reason_has_its_status_and_keeps_its_code() {
    let node = Node::start().await;
    let agent = node.agent(None).await.unwrap();
    let web = node.token(None);
    for (code, grpc, http) in GOLDEN {
        let reason = status::reason_of(code).unwrap();
        *node.fake.refuse.lock().unwrap() = Some(Refusal::new(reason, format!("because of {code}")));

        let heard = BundleClient::new(agent.channel()).get_bundle(Request::new(GetBundleRequest::default())).await;
        let heard = heard.unwrap_err();
        assert_eq!(heard.code() as i32, *grpc, "{code}");
        assert_eq!(heard.message(), format!("because of {code}"));
        assert_eq!(status::code_of(&heard).as_deref(), Some(*code));

        let error = agent.bundle().await.unwrap_err();
        assert_eq!((error.code.as_str(), error.reason()), (*code, Some(reason)));

        let page = web.get("/bundle").await.unwrap();
        let problem: Value = serde_json::from_slice(&page.body).unwrap();
        assert_eq!(page.status, *http, "{code}");
        assert_eq!(page.headers["content-type"], "application/problem+json");
        assert_eq!(problem["code"], **code);
        assert_eq!(problem["status"], *http);
        assert_eq!(problem["detail"], format!("because of {code}"));
        assert_eq!(page.headers.contains_key("retry-after"), *http == 503 || *http == 429);
    }
}
