//! Compiles the protocol buffers without `protoc`.

use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 10] = [
    "spire/api/types/types.proto",
    "spire/api/server/entry/v1/entry.proto",
    "spire/api/server/svid/v1/svid.proto",
    "spire/api/server/bundle/v1/bundle.proto",
    "spire/api/server/localauthority/v1/localauthority.proto",
    "signet/authority/v1/authority.proto",
    "signet/cluster/v1/cluster.proto",
    "signet/ops/v1/ops.proto",
    "signet/policy/v1/policy.proto",
    "signet/snapshot/v1/snapshot.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .generate_default_stubs(true)
        // Tokens are credentials: these messages print nothing of their own.
        .skip_debug(["spire.api.types.JWTSVID", "spire.api.types.WITSVID", "signet.cluster.v1.CreateJoinTokenResponse"])
        .compile_fds(descriptors)?;
    Ok(())
}
