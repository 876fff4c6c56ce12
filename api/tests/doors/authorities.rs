//! Authorities at the doors: SPIRE's names for them and ours.

use signet_api::proto::authority::Kind;
use signet_api::proto::local_authority::local_authority_client::LocalAuthorityClient;
use signet_api::proto::local_authority::{
    ActivateJwtAuthorityRequest, GetJwtAuthorityStateRequest, GetX509AuthorityStateRequest,
    PrepareX509AuthorityRequest, RevokeX509AuthorityRequest, RevokeX509UpstreamAuthorityRequest,
    TaintX509AuthorityRequest, TaintX509UpstreamAuthorityRequest,
};
use signet_api::service::{Authorities, AuthorityChange};
use signet_model::authority::{Authority, AuthorityKind, Life, Slot, StoredKey, WrappedKey};
use signet_model::command::{AuthorityRef, Settings};
use signet_model::recipient::Recipients;
use signet_model::rotation::Hierarchy;
use signet_model::time::UnixTime;
use tonic::Code;

use crate::node::{NOW, Node};

/// A root, an issuing CA under it, and two JWT keys, one of them old.
pub(crate) fn sample() -> Authorities {
    let now = UnixTime::from_secs(NOW);
    let authority = |kind, id: &str, slot, issuer: &str| Authority {
        kind,
        id: id.to_owned(),
        slot,
        public_key: Vec::new(),
        certificate: Vec::new(),
        key: StoredKey::Wrapped {
            for_recipients: vec![WrappedKey { recipient: "file:1".to_owned(), blob: b"not for anybody".to_vec() }],
        },
        created_at: now,
        not_after: UnixTime::from_secs(NOW + 3600),
        life: Life { issuer: issuer.to_owned(), unwrapped_by: vec![1, 2], ..Life::default() },
        outside: None,
    };
    let hierarchy = Hierarchy {
        settings: Settings {
            trust_domain: "example.org".parse().unwrap(),
            cluster_id: "0".repeat(32),
            token_issuer: "https://tts.example.org".to_owned(),
            jwt_svid_issuer: String::new(),
            x509_svid_ttl_secs: 3600,
            jwt_svid_ttl_secs: 300,
            refresh_hint_secs: 300,
            lease_secs: 30,
            demo: false,
            rotation: None,
            keys: None,
        },
        authorities: vec![
            authority(AuthorityKind::X509Root, "root", Slot::Active, ""),
            authority(AuthorityKind::X509Issuing, "ca", Slot::Active, "root"),
            authority(AuthorityKind::JwtSvid, "new", Slot::Active, ""),
            authority(AuthorityKind::JwtSvid, "old", Slot::Retiring, ""),
        ],
        requests: Vec::new(),
        epochs: std::collections::BTreeMap::new(),
        past: Vec::new(),
        recipients: Recipients::default(),
        certificate_requests: Vec::new(),
    };
    let (plan, bounds) = (hierarchy.plan(now), hierarchy.bounds(now));
    Authorities { now, plan, bounds, hierarchy, changed: None, kms_calls: 3, notes: Vec::new() }
}

/// The sample after a change: as before, and naming what it was about.
pub(crate) fn changed(change: AuthorityChange) -> Authorities {
    let changed = match change {
        AuthorityChange::Prepare { kind } => Some(AuthorityRef { kind, id: "ca".to_owned() }),
        AuthorityChange::Activate { authority, .. }
        | AuthorityChange::Taint { authority }
        | AuthorityChange::Revoke { authority, .. } => Some(authority),
        AuthorityChange::RequestCertificate { .. } | AuthorityChange::Import { .. } => {
            Some(AuthorityRef { kind: AuthorityKind::X509Root, id: "root".to_owned() })
        }
        AuthorityChange::Rotate { .. } | AuthorityChange::DropCertificateRequest { .. } => None,
    };
    Authorities { changed, ..sample() }
}

async fn spire(node: &Node) -> LocalAuthorityClient<tonic::transport::Channel> {
    LocalAuthorityClient::new(node.admin().await.channel())
}

#[tokio::test]
async fn spire_sees_issuing_cas_below_their_root_and_one_jwt_key_of_each_state() {
    let node = Node::start().await;
    let mut spire = spire(&node).await;
    let jwt = spire.get_jwt_authority_state(GetJwtAuthorityStateRequest {}).await.unwrap().into_inner();
    let id = |state: Option<signet_api::proto::local_authority::AuthorityState>| state.map(|s| s.authority_id);
    assert_eq!((id(jwt.active), id(jwt.prepared), id(jwt.old)), (Some("new".into()), None, Some("old".into())));
    let x509 = spire.get_x509_authority_state(GetX509AuthorityStateRequest {}).await.unwrap().into_inner();
    let active = x509.active.unwrap();
    assert_eq!(active.authority_id, "ca");
    assert_eq!(active.upstream_authority_subject_key_id, "root");
    assert_eq!(active.expires_at, i64::try_from(NOW).unwrap() + 3600);
    let prepared = spire.prepare_x509_authority(PrepareX509AuthorityRequest {}).await.unwrap().into_inner();
    assert_eq!(prepared.prepared_authority.unwrap().authority_id, "ca");
}

#[tokio::test]
async fn spire_is_told_to_taint_and_revoke_the_upstream_authority_instead() {
    let node = Node::start().await;
    let mut spire = spire(&node).await;
    let authority_id = || "ca".to_owned();
    let taint = spire.taint_x509_authority(TaintX509AuthorityRequest { authority_id: authority_id() }).await;
    let revoke = spire.revoke_x509_authority(RevokeX509AuthorityRequest { authority_id: authority_id() }).await;
    for refused in [taint.unwrap_err(), revoke.map(drop).unwrap_err()] {
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("x509-root"), "{refused}");
    }
    let subject_key_id = || "root".to_owned();
    let taint = TaintX509UpstreamAuthorityRequest { subject_key_id: subject_key_id() };
    let tainted = spire.taint_x509_upstream_authority(taint).await.unwrap().into_inner();
    assert_eq!(tainted.upstream_authority_subject_key_id, "root");
    let revoke = RevokeX509UpstreamAuthorityRequest { subject_key_id: subject_key_id() };
    spire.revoke_x509_upstream_authority(revoke).await.unwrap();
    let none = ActivateJwtAuthorityRequest { authority_id: String::new() };
    let refused = spire.activate_jwt_authority(none).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "no authority ID provided"));
}

#[tokio::test]
async fn our_own_view_names_everything_and_shows_no_key() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let state = admin.authorities().await.unwrap();
    assert_eq!(state.authorities.len(), 4);
    let ca = &state.authorities[1];
    assert_eq!(ca.name.as_ref().unwrap().kind(), Kind::X509Issuing);
    assert_eq!((ca.slot.as_str(), ca.issuer.as_str(), &ca.unwrapped_by), ("active", "root", &vec![1, 2]));
    assert_eq!(ca.kept_by, ["file:1"]);
    assert!(!state.plan.is_empty());
    let shown = format!("{state:?}");
    assert!(!shown.contains("not for anybody"), "{shown}");
    let rotate = AuthorityChange::Rotate {
        kinds: vec![AuthorityKind::JwtSvid],
        reason: "a test".to_owned(),
        emergency: true,
        revoke_after_secs: Some(9),
    };
    for dry_run in [true, false] {
        admin.change_authority(rotate.clone(), dry_run).await.unwrap();
    }
    let seen: Vec<&str> = node.fake.seen.lock().unwrap().iter().map(|(what, _)| *what).collect();
    assert_eq!(seen, ["authorities", "try_authority", "change_authority"]);
}
