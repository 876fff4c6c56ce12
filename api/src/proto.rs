//! Messages and services as generated from `proto/`.

use std::fmt;

macro_rules! package {
    ($(#[$doc:meta])+ $name:ident = $package:literal) => {
        $(#[$doc])+
        #[allow(clippy::all, clippy::restriction, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

/// `spire.api` and `signet`, nested as the generated code expects.
pub mod spire {
    /// `spire.api`
    pub mod api {
        package! {
            /// `spire.api.types`
            types = "spire.api.types"
        }
        /// `spire.api.server`
        pub mod server {
            /// `spire.api.server.entry`
            pub mod entry {
                package! {
                    /// `spire.api.server.entry.v1`
                    v1 = "spire.api.server.entry.v1"
                }
            }
            /// `spire.api.server.svid`
            pub mod svid {
                package! {
                    /// `spire.api.server.svid.v1`
                    v1 = "spire.api.server.svid.v1"
                }
            }
            /// `spire.api.server.bundle`
            pub mod bundle {
                package! {
                    /// `spire.api.server.bundle.v1`
                    v1 = "spire.api.server.bundle.v1"
                }
            }
            /// `spire.api.server.localauthority`
            pub mod localauthority {
                package! {
                    /// `spire.api.server.localauthority.v1`
                    v1 = "spire.api.server.localauthority.v1"
                }
            }
        }
    }
}

package! {
    /// `signet.authority.v1`
    authority = "signet.authority.v1"
}

package! {
    /// `signet.cluster.v1`
    cluster = "signet.cluster.v1"
}

package! {
    /// `signet.ops.v1`
    ops = "signet.ops.v1"
}

package! {
    /// `signet.policy.v1`
    policy = "signet.policy.v1"
}

package! {
    /// `signet.snapshot.v1`
    snapshot = "signet.snapshot.v1"
}

pub use spire::api::server::bundle::v1 as bundle;
pub use spire::api::server::entry::v1 as entry;
pub use spire::api::server::localauthority::v1 as local_authority;
pub use spire::api::server::svid::v1 as svid;
pub use spire::api::types;

/// The descriptors of all of these, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

impl fmt::Debug for types::Jwtsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JWTSVID").field("id", &self.id).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl fmt::Debug for types::Witsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WITSVID").field("id", &self.id).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl fmt::Debug for cluster::CreateJoinTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateJoinTokenResponse").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
