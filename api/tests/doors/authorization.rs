//! Who may call what, over all methods and doors.

use std::collections::BTreeSet;

use prost::Message as _;
use signet_api::methods::METHODS;
use signet_model::caller::Caller;
use tonic::Code;

use crate::node::{Node, code, knock, soon};

/// What a door says to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// The method answers, be it that the empty message is wrong.
    Yes,
    /// `PermissionDenied`
    No,
    /// `Unimplemented`
    Not,
}

use Says::{No, Not, Yes};

/// Path; without a certificate, with an X.509-SVID, at the admin socket.
const GOLDEN: &[(&str, Says, Says, Says)] = &[
    ("/spire.api.server.svid.v1.SVID/BatchNewX509SVID", No, Yes, No),
    ("/spire.api.server.svid.v1.SVID/NewJWTSVID", No, Yes, No),
    ("/spire.api.server.svid.v1.SVID/MintX509SVID", No, No, Yes),
    ("/spire.api.server.svid.v1.SVID/MintJWTSVID", No, No, Yes),
    ("/spire.api.server.svid.v1.SVID/MintWITSVID", No, No, Not),
    ("/spire.api.server.svid.v1.SVID/BatchNewWITSVID", No, Not, No),
    ("/spire.api.server.svid.v1.SVID/NewDownstreamX509CA", No, Not, No),
    ("/spire.api.server.entry.v1.Entry/CountEntries", No, No, Yes),
    ("/spire.api.server.entry.v1.Entry/ListEntries", No, No, Yes),
    ("/spire.api.server.entry.v1.Entry/GetEntry", No, No, Yes),
    ("/spire.api.server.entry.v1.Entry/BatchCreateEntry", No, No, Yes),
    ("/spire.api.server.entry.v1.Entry/BatchUpdateEntry", No, No, Yes),
    ("/spire.api.server.entry.v1.Entry/BatchDeleteEntry", No, No, Yes),
    ("/spire.api.server.entry.v1.Entry/GetAuthorizedEntries", No, Not, No),
    ("/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries", No, Not, No),
    ("/spire.api.server.bundle.v1.Bundle/CountBundles", No, No, Yes),
    ("/spire.api.server.bundle.v1.Bundle/GetBundle", Yes, Yes, Yes),
    ("/spire.api.server.bundle.v1.Bundle/AppendBundle", No, No, Not),
    ("/spire.api.server.bundle.v1.Bundle/PublishJWTAuthority", No, Not, No),
    ("/spire.api.server.bundle.v1.Bundle/PublishWITAuthority", No, Not, No),
    ("/spire.api.server.bundle.v1.Bundle/ListFederatedBundles", No, No, Not),
    ("/spire.api.server.bundle.v1.Bundle/GetFederatedBundle", No, Not, No),
    ("/spire.api.server.bundle.v1.Bundle/BatchCreateFederatedBundle", No, No, Not),
    ("/spire.api.server.bundle.v1.Bundle/BatchUpdateFederatedBundle", No, No, Not),
    ("/spire.api.server.bundle.v1.Bundle/BatchSetFederatedBundle", No, No, Not),
    ("/spire.api.server.bundle.v1.Bundle/BatchDeleteFederatedBundle", No, No, Not),
    ("/signet.cluster.v1.Cluster/Init", No, No, Yes),
    ("/signet.cluster.v1.Cluster/Status", No, No, Yes),
    ("/signet.cluster.v1.Cluster/CreateJoinToken", No, No, Yes),
    ("/signet.cluster.v1.Cluster/Promote", No, No, Yes),
    ("/signet.cluster.v1.Cluster/Demote", No, No, Yes),
    ("/signet.cluster.v1.Cluster/Remove", No, No, Yes),
    ("/signet.cluster.v1.Cluster/TransferLeader", No, No, Yes),
    ("/signet.cluster.v1.Cluster/Drain", No, No, Yes),
    ("/signet.cluster.v1.Cluster/Hash", No, No, Yes),
    ("/signet.cluster.v1.Cluster/ResetTime", No, No, Yes),
    ("/signet.policy.v1.Policy/Apply", No, No, Yes),
    ("/signet.policy.v1.Policy/Show", No, No, Yes),
    ("/signet.policy.v1.Policy/TokenKeys", No, No, Yes),
    ("/signet.snapshot.v1.Snapshot/Save", No, No, Yes),
    ("/signet.snapshot.v1.Snapshot/Status", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/GetJWTAuthorityState", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/PrepareJWTAuthority", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/ActivateJWTAuthority", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/TaintJWTAuthority", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/RevokeJWTAuthority", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/GetX509AuthorityState", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/PrepareX509Authority", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/ActivateX509Authority", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/TaintX509Authority", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/TaintX509UpstreamAuthority", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509Authority", No, No, Yes),
    ("/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509UpstreamAuthority", No, No, Yes),
    ("/signet.authority.v1.Authorities/Show", No, No, Yes),
    ("/signet.authority.v1.Authorities/Prepare", No, No, Yes),
    ("/signet.authority.v1.Authorities/Activate", No, No, Yes),
    ("/signet.authority.v1.Authorities/Taint", No, No, Yes),
    ("/signet.authority.v1.Authorities/Revoke", No, No, Yes),
    ("/signet.authority.v1.Authorities/Rotate", No, No, Yes),
    ("/signet.authority.v1.Authorities/RequestCertificate", No, No, Yes),
    ("/signet.authority.v1.Authorities/DropCertificateRequest", No, No, Yes),
    ("/signet.authority.v1.Authorities/Import", No, No, Yes),
    ("/signet.authority.v1.Recipients/List", No, No, Yes),
    ("/signet.authority.v1.Recipients/Add", No, No, Yes),
    ("/signet.authority.v1.Recipients/Remove", No, No, Yes),
    ("/signet.authority.v1.Recipients/PlaceRoots", No, No, Yes),
    ("/signet.ops.v1.Ops/Diagnose", No, No, Yes),
    ("/signet.ops.v1.Ops/CollectDebug", No, No, Yes),
    ("/signet.ops.v1.Ops/UpgradeStatus", No, No, Yes),
    ("/signet.ops.v1.Ops/FinalizeUpgrade", No, No, Yes),
    ("/grpc.health.v1.Health/Check", Yes, Yes, Yes),
    ("/grpc.health.v1.Health/Watch", Yes, Yes, Yes),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", No, No, Yes),
];

/// Every method that the descriptors know, and those of health and reflection.
fn all_methods() -> BTreeSet<String> {
    let sets = [
        signet_api::proto::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    let files = sets.into_iter().flat_map(|set| prost_types::FileDescriptorSet::decode(set).unwrap().file);
    let mut paths = BTreeSet::new();
    for file in files {
        for service in &file.service {
            let path = |method: &str| format!("/{}.{}/{method}", file.package(), service.name());
            paths.extend(service.method.iter().map(|method| path(method.name())));
        }
    }
    paths
}

#[test]
fn no_method_goes_untested() {
    let golden: BTreeSet<String> = GOLDEN.iter().map(|(path, ..)| (*path).to_owned()).collect();
    let table: BTreeSet<String> = METHODS.iter().map(|method| method.path.to_owned()).collect();
    let uncovered: Vec<_> = all_methods().into_iter().filter(|path| !golden.contains(path)).collect();
    assert_eq!(uncovered, Vec::<String>::new());
    assert_eq!(table, golden, "the table of methods and the golden list name the same");
    assert_eq!(golden.len(), GOLDEN.len(), "no method is listed twice");
}

#[tokio::test]
async fn every_door_lets_in_whom_it_should_and_nobody_else() {
    let node = Node::start().await;
    let nobody = node.agent(None).await.unwrap().channel();
    let agent = node.agent(Some(node.pki.agent())).await.unwrap().channel();
    let admin = node.admin().await.channel();
    for (path, without, with_svid, local) in GOLDEN {
        for (who, channel, expected) in
            [("nobody", &nobody, without), ("an SVID's holder", &agent, with_svid), ("an administrator", &admin, local)]
        {
            let before = node.fake.seen_count();
            let heard = soon(knock(channel.clone(), path)).await;
            let says = match code(heard.as_ref()) {
                Code::PermissionDenied => No,
                Code::Unimplemented => Not,
                _ => Yes,
            };
            assert_eq!(says, *expected, "{path} for {who}: {heard:?}");
            if *expected != Yes {
                assert_eq!(node.fake.seen_count(), before, "{path} for {who} reached the service");
            }
            if *expected == No {
                assert_eq!(heard.unwrap().message(), format!("authorization denied for method {path}"));
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_at_every_door() {
    let node = Node::start().await;
    for channel in [node.agent(None).await.unwrap().channel(), node.admin().await.channel()] {
        let heard = soon(knock(channel, "/spire.api.server.agent.v1.Agent/AttestAgent")).await.unwrap();
        assert_eq!(heard.code(), Code::Unimplemented);
        assert_eq!(heard.message(), "this server has no method /spire.api.server.agent.v1.Agent/AttestAgent");
    }
}

#[tokio::test]
async fn the_service_hears_who_called() {
    let node = Node::start().await;
    node.agent(None).await.unwrap().bundle().await.unwrap();
    node.agent(Some(node.pki.agent())).await.unwrap().bundle().await.unwrap();
    node.admin().await.bundle().await.unwrap();
    node.token(None).exchange(&[]).await.unwrap();
    node.token(Some(node.pki.agent())).exchange(&[]).await.unwrap();
    let id = "spiffe://example.org/agent".parse().unwrap();
    let holder = Caller::Spiffe { id };
    let pid = i32::try_from(std::process::id()).unwrap();
    let local = Caller::Local { node: 5, uid: node.own_uid(), pid };
    assert_eq!(node.fake.callers(), [Caller::Anonymous, holder.clone(), local, Caller::Anonymous, holder]);
}
