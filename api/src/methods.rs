//! Which methods there are, and who may call them: the one table of authorization by door.
//!
//! What depends on entries (is the caller the parent of this one?) is decided behind the doors.

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everybody at both doors, with or without a credential.
    Anybody,
    /// The holder of an X.509-SVID, on the TLS port.
    SvidHolder,
    /// An allowed local user, on the admin socket.
    Administrator,
}

/// The service that answers a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Entry,
    Svid,
    Bundle,
    Cluster,
    Policy,
    Snapshot,
    Authority,
    Recipient,
    LocalAuthority,
    Ops,
    Health,
    Reflection,
}

/// One method.
#[derive(Debug)]
pub struct Method {
    /// The gRPC path, `/package.Service/Method`.
    pub path: &'static str,
    /// Who may call it.
    pub who: Who,
    /// Known to the protocol and not offered by this server, with the text that says so.
    pub absent: Option<&'static str>,
    pub(crate) target: Target,
}

/// The method with this path.
pub(crate) fn find(path: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.path == path)
}

/// The names of the services that can be asked after by a health check.
pub(crate) fn is_service(name: &str) -> bool {
    let of = |path: &'static str| path.strip_prefix('/').and_then(|path| path.split('/').next());
    METHODS.iter().any(|method| of(method.path) == Some(name))
}

const fn offered(target: Target, who: Who, path: &'static str) -> Method {
    Method { path, who, absent: None, target }
}

const fn absent(target: Target, who: Who, path: &'static str, text: &'static str) -> Method {
    Method { path, who, absent: Some(text), target }
}

use Who::{Administrator, Anybody, SvidHolder};

/// Every method of every service. The hot ones come first: the table is searched in order.
pub const METHODS: &[Method] = &[
    offered(Target::Svid, SvidHolder, "/spire.api.server.svid.v1.SVID/BatchNewX509SVID"),
    offered(Target::Svid, SvidHolder, "/spire.api.server.svid.v1.SVID/NewJWTSVID"),
    offered(Target::Bundle, Anybody, "/spire.api.server.bundle.v1.Bundle/GetBundle"),
    offered(Target::Svid, Administrator, "/spire.api.server.svid.v1.SVID/MintX509SVID"),
    offered(Target::Svid, Administrator, "/spire.api.server.svid.v1.SVID/MintJWTSVID"),
    absent(Target::Svid, Administrator, "/spire.api.server.svid.v1.SVID/MintWITSVID", WIT),
    absent(Target::Svid, SvidHolder, "/spire.api.server.svid.v1.SVID/BatchNewWITSVID", WIT),
    absent(Target::Svid, SvidHolder, "/spire.api.server.svid.v1.SVID/NewDownstreamX509CA", DOWNSTREAM),
    offered(Target::Entry, Administrator, "/spire.api.server.entry.v1.Entry/CountEntries"),
    offered(Target::Entry, Administrator, "/spire.api.server.entry.v1.Entry/ListEntries"),
    offered(Target::Entry, Administrator, "/spire.api.server.entry.v1.Entry/GetEntry"),
    offered(Target::Entry, Administrator, "/spire.api.server.entry.v1.Entry/BatchCreateEntry"),
    offered(Target::Entry, Administrator, "/spire.api.server.entry.v1.Entry/BatchUpdateEntry"),
    offered(Target::Entry, Administrator, "/spire.api.server.entry.v1.Entry/BatchDeleteEntry"),
    absent(Target::Entry, SvidHolder, "/spire.api.server.entry.v1.Entry/GetAuthorizedEntries", AGENTS),
    absent(Target::Entry, SvidHolder, "/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries", AGENTS),
    offered(Target::Bundle, Administrator, "/spire.api.server.bundle.v1.Bundle/CountBundles"),
    absent(Target::Bundle, Administrator, "/spire.api.server.bundle.v1.Bundle/AppendBundle", AUTHORITIES),
    absent(Target::Bundle, SvidHolder, "/spire.api.server.bundle.v1.Bundle/PublishJWTAuthority", DOWNSTREAM),
    absent(Target::Bundle, SvidHolder, "/spire.api.server.bundle.v1.Bundle/PublishWITAuthority", WIT),
    absent(Target::Bundle, Administrator, "/spire.api.server.bundle.v1.Bundle/ListFederatedBundles", FEDERATION),
    absent(Target::Bundle, SvidHolder, "/spire.api.server.bundle.v1.Bundle/GetFederatedBundle", FEDERATION),
    absent(Target::Bundle, Administrator, "/spire.api.server.bundle.v1.Bundle/BatchCreateFederatedBundle", FEDERATION),
    absent(Target::Bundle, Administrator, "/spire.api.server.bundle.v1.Bundle/BatchUpdateFederatedBundle", FEDERATION),
    absent(Target::Bundle, Administrator, "/spire.api.server.bundle.v1.Bundle/BatchSetFederatedBundle", FEDERATION),
    absent(Target::Bundle, Administrator, "/spire.api.server.bundle.v1.Bundle/BatchDeleteFederatedBundle", FEDERATION),
    offered(Target::Cluster, Administrator, "/signet.cluster.v1.Cluster/Init"),
    offered(Target::Cluster, Administrator, "/signet.cluster.v1.Cluster/Status"),
    offered(Target::Cluster, Administrator, "/signet.cluster.v1.Cluster/CreateJoinToken"),
    offered(Target::Cluster, Administrator, "/signet.cluster.v1.Cluster/Promote"),
    offered(Target::Cluster, Administrator, "/signet.cluster.v1.Cluster/Demote"),
    offered(Target::Cluster, Administrator, "/signet.cluster.v1.Cluster/Remove"),
    offered(Target::Cluster, Administrator, "/signet.cluster.v1.Cluster/TransferLeader"),
    offered(Target::Cluster, Administrator, "/signet.cluster.v1.Cluster/Drain"),
    offered(Target::Cluster, Administrator, "/signet.cluster.v1.Cluster/Hash"),
    offered(Target::Cluster, Administrator, "/signet.cluster.v1.Cluster/ResetTime"),
    offered(Target::Policy, Administrator, "/signet.policy.v1.Policy/Apply"),
    offered(Target::Policy, Administrator, "/signet.policy.v1.Policy/Show"),
    offered(Target::Policy, Administrator, "/signet.policy.v1.Policy/TokenKeys"),
    offered(Target::Snapshot, Administrator, "/signet.snapshot.v1.Snapshot/Save"),
    offered(Target::Snapshot, Administrator, "/signet.snapshot.v1.Snapshot/Status"),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/GetJWTAuthorityState",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/PrepareJWTAuthority",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/ActivateJWTAuthority",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/TaintJWTAuthority",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/RevokeJWTAuthority",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/GetX509AuthorityState",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/PrepareX509Authority",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/ActivateX509Authority",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/TaintX509Authority",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/TaintX509UpstreamAuthority",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509Authority",
    ),
    offered(
        Target::LocalAuthority,
        Administrator,
        "/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509UpstreamAuthority",
    ),
    offered(Target::Authority, Administrator, "/signet.authority.v1.Authorities/Show"),
    offered(Target::Authority, Administrator, "/signet.authority.v1.Authorities/Prepare"),
    offered(Target::Authority, Administrator, "/signet.authority.v1.Authorities/Activate"),
    offered(Target::Authority, Administrator, "/signet.authority.v1.Authorities/Taint"),
    offered(Target::Authority, Administrator, "/signet.authority.v1.Authorities/Revoke"),
    offered(Target::Authority, Administrator, "/signet.authority.v1.Authorities/Rotate"),
    offered(Target::Authority, Administrator, "/signet.authority.v1.Authorities/RequestCertificate"),
    offered(Target::Authority, Administrator, "/signet.authority.v1.Authorities/DropCertificateRequest"),
    offered(Target::Authority, Administrator, "/signet.authority.v1.Authorities/Import"),
    offered(Target::Recipient, Administrator, "/signet.authority.v1.Recipients/List"),
    offered(Target::Recipient, Administrator, "/signet.authority.v1.Recipients/Add"),
    offered(Target::Recipient, Administrator, "/signet.authority.v1.Recipients/Remove"),
    offered(Target::Recipient, Administrator, "/signet.authority.v1.Recipients/PlaceRoots"),
    offered(Target::Ops, Administrator, "/signet.ops.v1.Ops/Diagnose"),
    offered(Target::Ops, Administrator, "/signet.ops.v1.Ops/CollectDebug"),
    offered(Target::Ops, Administrator, "/signet.ops.v1.Ops/UpgradeStatus"),
    offered(Target::Ops, Administrator, "/signet.ops.v1.Ops/FinalizeUpgrade"),
    offered(Target::Health, Anybody, "/grpc.health.v1.Health/Check"),
    offered(Target::Health, Anybody, "/grpc.health.v1.Health/Watch"),
    offered(Target::Reflection, Administrator, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
];

const WIT: &str = "WIT functionality is disabled";
const DOWNSTREAM: &str = "downstream authorities are not offered by this server yet";
const AGENTS: &str = "authorized entries are not offered by this server yet";
const AUTHORITIES: &str = "foreign authorities cannot be added to the bundle of this server yet";
const FEDERATION: &str = "federation is not offered by this server yet";
