//! What the terminal shows when the cluster is ready.

use std::path::Path;

use super::demo;
use super::folder::Folder;
use super::plan::Plan;
use super::report::Report;

/// Addresses, and three things to try. Each command stands in a line of its own, so that it can be pasted.
pub(super) fn text(folder: &Folder, plan: &Plan, report: &Report, kept: bool) -> String {
    let mut lines = vec![
        String::new(),
        format!("Signet is ready: {} nodes, trust domain {}.", report.nodes.len(), plan.trust_domain),
    ];
    for (place, node) in report.nodes.iter().enumerate() {
        let log = folder.log(place + 1);
        let log = log.file_name().unwrap_or_default().display();
        lines.push(format!("  node {:<3} {}   grpc {}   pid {:<7} {log}", node.id, node.https, node.grpc, node.pid));
    }
    lines.push(format!("  issuer   {}    signs the demo users' tokens", report.demo_issuer.issuer));
    let end = if kept { "kept" } else { "removed at the end" };
    lines.push(format!("  data     {}    {end}", folder.path().display()));
    lines.extend(["", "In another terminal:"].map(str::to_owned));
    lines.push(format!("  export SIGNET_DEV_DIR={}", quoted(folder.path())));
    for (title, command) in examples(folder, plan, &program()) {
        lines.extend([String::new(), title.to_owned(), format!("  {command}")]);
    }
    lines.push(String::new());
    lines.push(
        "Kill any node (kill -9 PID): the others carry on, and it comes back. Ctrl-C stops everything.".to_owned(),
    );
    lines.join("\n")
}

fn examples(folder: &Folder, plan: &Plan, signet: &str) -> [(&'static str, String); 3] {
    let domain = &plan.trust_domain;
    let gateway = format!("spiffe://{domain}{}", demo::GATEWAY);
    let files = folder.path().join("gateway");
    let (svid, anchors) = (quoted(&files.join("svid.pem")), quoted(&folder.bundle()));
    let assertion = quoted(&folder.path().join("gateway.jwt"));
    [
        (
            "1. An entry: who may get which identity",
            format!(
                "{signet} entry create --spiffe-id spiffe://{domain}/shop/cart --parent-id spiffe://{domain}/host/demo --selector unix:uid:1000"
            ),
        ),
        (
            "2. An X.509-SVID, and OpenSSL's opinion of it",
            format!(
                "{signet} x509 mint --spiffe-id {gateway} --out-dir {} && openssl verify -x509_strict -CAfile {anchors} -untrusted {svid} {svid}",
                quoted(&files)
            ),
        ),
        (
            "3. Alice's token becomes a transaction token, for a gateway that shows a JWT-SVID",
            format!(
                "{signet} jwt mint --spiffe-id {gateway} --audience {} --out {assertion} && {signet} dev token --user alice | {signet} exchange --client-assertion-file {assertion} --scope {} -o token | {signet} token inspect",
                plan.token_issuer(),
                demo::SCOPES[0]
            ),
        ),
    ]
}

/// How to call this program: by its name where the shell finds it so.
fn program() -> String {
    let Ok(program) = std::env::current_exe() else { return "signet".to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("signet")).find(|candidate| candidate.is_file());
    let same = found.is_some_and(|found| found.canonicalize().is_ok_and(|found| found == program));
    if same { "signet".to_owned() } else { quoted(&program) }
}

/// The path as a word of the shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_' | b'+' | b','));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_or_quotes_is_one_word_of_the_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-b_c.1")), "/tmp/a-b_c.1");
        assert_eq!(quoted(Path::new("/tmp/a b")), "'/tmp/a b'");
        assert_eq!(quoted(Path::new("/tmp/it's")), r"'/tmp/it'\''s'");
    }

    #[test]
    fn every_example_is_one_line_and_names_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(dir.path())).unwrap();
        let plan = Plan::new("dev.local".parse().unwrap()).unwrap();
        for (_, command) in examples(&folder, &plan, "signet") {
            assert!(!command.contains('\n') && !command.contains("eyJ"), "{command}");
        }
    }
}
