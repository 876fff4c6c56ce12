//! Compiles the peers' protocol without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["peer.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".signet.peer.v1")
        // They carry secrets and commands.
        .skip_debug(["signet.peer.v1.JoinRequest", "signet.peer.v1.ProposeRequest", "signet.peer.v1.AppendRequest"])
        .compile_fds(descriptors)?;
    Ok(())
}
