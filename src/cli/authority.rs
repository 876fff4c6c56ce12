//! `signet authority`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signet_api::proto::authority as wire;
use signet_api::service::{AuthorityChange, ForeignKey};
use signet_kms::{KmsError, read_pkcs8_pem, uri};
use signet_model::authority::AuthorityKind;
use signet_model::command::AuthorityRef;
use signet_model::refusal::Reason;
use signet_model::x509::bundle_document;

use super::duration::{parse_ttl, show_about};
use super::failure::Failure;
use super::files::write_public;
use super::node::NodeArgs;
use super::output::{Output, or_dash, print_json, print_table, print_text};
use super::timestamp::show_timestamp;

/// The keys by which the trust domain speaks: what signs, what will, what did, and when that changes.
#[derive(Debug, Subcommand)]
pub(crate) enum Authority {
    /// Show every authority, and the plan of what happens to them next.
    Show {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Make an authority and publish it. It signs when its time has come, or when it is activated.
    Prepare {
        #[command(flatten)]
        kind: Kind,
        #[command(flatten)]
        more: Common,
    },
    /// Let a prepared authority sign in the place of the active one, at one moment in the whole cluster.
    Activate {
        #[command(flatten)]
        which: Which,
        /// Do not wait until every verifier can know it and every living node has unwrapped it: some verifiers will
        /// refuse what it signs until they look again.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        more: Common,
    },
    /// Mark an authority that has stopped signing, so that agents ask anew for what it signed.
    Taint {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        more: Common,
    },
    /// Remove an authority that does not sign from bundle and JWKS: what it signed is refused from then on.
    Revoke {
        #[command(flatten)]
        which: Which,
        /// Do not wait until no node that is cut off can still be signing with it.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        more: Common,
    },
    /// Print the certificate request (PKCS#10, PEM) by which an outside CA is asked to sign a root of this trust domain.
    /// Its key is made in the key backend and waits there; the request that waits is printed again.
    Csr {
        /// Write it here and not to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The name to ask for, as in "CN=Signet CA,O=Example Inc,C=DE". [default: one of ours, with the key's id]
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        subject: String,
        /// Make another key and request though one waits.
        #[arg(long, conflicts_with = "discard")]
        new: bool,
        /// Forget the request with this id: no certificate will come for it.
        #[arg(long, value_name = "ID")]
        discard: Option<String>,
        #[command(flatten)]
        more: Common,
    },
    /// Publish a root whose certificate an outside CA signed, or that was made elsewhere. It signs when it is activated
    /// (`signet authority rotate --kind x509-root`).
    Import {
        /// The certificate and all above it up to a self-signed root, PEM.
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
        /// The certificate's private key, PKCS#8 PEM, mode 0600, for one that `signet authority csr` did not make. It is
        /// sealed here by the key file of --backend, and travels sealed.
        #[arg(long, value_name = "FILE", requires = "backend", conflicts_with = "key_label")]
        key: Option<PathBuf>,
        /// The label of the certificate's key in the token of --backend.
        #[arg(long, value_name = "LABEL", requires = "backend")]
        key_label: Option<String>,
        /// The key backend that has the key or is to have it, as `keys.backend` of the nodes has it: a recipient of the
        /// cluster.
        #[arg(long, value_name = "URI")]
        backend: Option<String>,
        #[command(flatten)]
        more: Common,
    },
    /// Have the active authorities replaced as soon as it is safe: new ones are made, published, and take over when every
    /// verifier can know them. The leader does it; this command returns at once and says by when.
    Rotate {
        /// Which kind: x509-root, x509-issuing, jwt-svid, transaction-token. May be said more than once. [default: the
        /// three that are in nodes' memory]
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<AuthorityKind>,
        /// The keys may be known to somebody: use none that was made before.
        #[arg(long)]
        emergency: bool,
        /// Revoke the replaced ones this long after they stopped signing, and taint them until then. Without it they go
        /// when what they signed has ended.
        #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
        revoke_after: Option<u32>,
        /// Why, for those who look later.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        #[command(flatten)]
        more: Common,
    },
}

/// A kind of authority.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Kind {
    /// Which kind: x509-root, x509-issuing, jwt-svid, transaction-token.
    #[arg(long, value_name = "KIND")]
    kind: AuthorityKind,
}

/// One authority.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    #[command(flatten)]
    kind: Kind,
    /// Its id, as `signet authority show` lists it.
    // A key's id is base64url and may begin with a hyphen.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    id: String,
}

impl From<Which> for AuthorityRef {
    fn from(which: Which) -> Self {
        Self { kind: which.kind.kind, id: which.id }
    }
}

/// What every change takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Change nothing, and show what would be and what would follow when.
    #[arg(long, visible_alias = "plan")]
    dry_run: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) async fn run(args: Authority) -> Result<(), Failure> {
    let (change, more) = match args {
        Authority::Csr { out, subject, new, discard: None, more } => {
            return csr(AuthorityChange::RequestCertificate { subject, another: new }, out.as_deref(), more).await;
        }
        Authority::Csr { discard: Some(id), more, .. } => (AuthorityChange::DropCertificateRequest { id }, more),
        Authority::Import { chain, key, key_label, backend, more } => {
            let chain = std::fs::read(&chain).map_err(|cause| Failure::file("read the chain in", &chain, cause))?;
            let key = match backend {
                Some(backend) => Some(foreign_key(&backend, key.as_deref(), key_label.as_deref()).await?),
                None => None,
            };
            (AuthorityChange::Import { chain, key }, more)
        }
        Authority::Show { node } => {
            let state = node.call(|client| async move { client.authorities().await }).await?;
            return print(&state, &node, false);
        }
        Authority::Prepare { kind, more } => (AuthorityChange::Prepare { kind: kind.kind }, more),
        Authority::Activate { which, force, more } => {
            (AuthorityChange::Activate { authority: which.into(), force }, more)
        }
        Authority::Taint { which, more } => (AuthorityChange::Taint { authority: which.into() }, more),
        Authority::Revoke { which, force, more } => (AuthorityChange::Revoke { authority: which.into(), force }, more),
        Authority::Rotate { kinds, emergency, revoke_after, reason, more } => {
            let kinds = if kinds.is_empty() { AuthorityKind::IN_MEMORY.to_vec() } else { kinds };
            (AuthorityChange::Rotate { kinds, reason, emergency, revoke_after_secs: revoke_after }, more)
        }
    };
    let Common { dry_run, node } = more;
    let state = node.call(|client| async move { client.change_authority(change, dry_run).await }).await?;
    print(&state, &node, dry_run)
}

/// Takes up a key in its backend, from here: no private key leaves this process but sealed.
async fn foreign_key(backend: &str, key: Option<&Path>, label: Option<&str>) -> Result<ForeignKey, Failure> {
    let failed = |cause: KmsError| Failure::new(Reason::FailedPrecondition.code(), cause.to_string());
    let backend = uri::open(backend).map_err(failed)?;
    let reference = match (key, label) {
        (Some(path), _) => {
            let pkcs8 = read_pkcs8_pem(path).map_err(failed)?;
            backend.adopt(signet_kms::ForeignKey::Pkcs8(&pkcs8)).await
        }
        (None, Some(label)) => backend.adopt(signet_kms::ForeignKey::Named(label)).await,
        (None, None) => {
            let problem =
                "--backend says where the certificate's key is: say which with --key FILE or --key-label LABEL";
            return Err(Failure::new(Reason::InvalidArgument.code(), problem));
        }
    };
    let (recipient, reference) = (backend.recipient().await.map_err(failed)?, reference.map_err(failed)?);
    Ok(ForeignKey { recipient, reference: reference.0 })
}

/// Has a request made, or finds the one that waits, and prints it.
async fn csr(change: AuthorityChange, out: Option<&Path>, more: Common) -> Result<(), Failure> {
    let Common { dry_run, node } = more;
    let state = node.call(|client| async move { client.change_authority(change, dry_run).await }).await?;
    let id = name(state.changed.as_ref()).1;
    let request = state.certificate_requests.iter().find(|request| request.id == id && !request.request.is_empty());
    let Some(request) = request else {
        return print(&state, &node, dry_run);
    };
    let pem = bundle_document::request_to_pem(&request.request);
    match out {
        Some(path) if !dry_run => write_public(path, pem.as_bytes())?,
        Some(_) | None => {}
    }
    match node.output {
        Output::Json => print_json(&json!({
            "id": request.id, "made_at": request.made_at, "kept_by": request.kept_by, "request": pem,
        })),
        Output::Table if out.is_none() => print_text(pem.trim_end()),
        Output::Table => Ok(()),
    }
}

fn print(state: &wire::State, node: &NodeArgs, dry_run: bool) -> Result<(), Failure> {
    match node.output {
        Output::Json => print_json(&document(state, dry_run)),
        Output::Table => print_tables(state, dry_run),
    }
}

fn print_tables(state: &wire::State, dry_run: bool) -> Result<(), Failure> {
    if dry_run {
        eprintln!("nothing was changed; this is how it would be");
    }
    print_table(
        ["KIND", "ID", "ALGORITHM", "STATE", "SIGNS SINCE", "ENDS", "HELD BY NODES", "SIGNED BY"],
        state.authorities.iter().map(|authority| {
            let (kind, id) = name(authority.name.as_ref());
            let held = match authority.unwrapped_by.is_empty() {
                true => authority.kept_by.join(","),
                false => authority.unwrapped_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            };
            [
                kind.to_owned(),
                id.to_owned(),
                or_dash((!authority.algorithm.is_empty()).then_some(&authority.algorithm)),
                state_of(authority),
                authority.activated_at.map_or_else(|| "-".to_owned(), |at| show_timestamp(at / 1000)),
                show_timestamp(authority.not_after / 1000),
                held,
                or_dash(authority.outside.as_ref().or((!authority.issuer.is_empty()).then_some(&authority.issuer))),
            ]
        }),
    )?;
    print_text("")?;
    print_table(
        ["WHEN", "IN", "WHAT", "KIND", "ID", "WHY"],
        state.plan.iter().map(|step| {
            [
                show_timestamp(step.due.div_ceil(1000)),
                wait(state.now, step),
                step.action.clone(),
                kind_name(step.kind).to_owned(),
                if step.id.is_empty() { "(to be made)".to_owned() } else { step.id.clone() },
                step.why.clone(),
            ]
        }),
    )?;
    for bound in &state.bounds {
        let (kind, id) = name(bound.authority.as_ref());
        let (signs, accepted) = (bound.signs_until.div_ceil(1000), bound.accepted_until.div_ceil(1000));
        print_text(&format!(
            "{kind} {id}: no node signs with it after {}, and nothing it signed is accepted after {}",
            show_timestamp(signs),
            show_timestamp(accepted)
        ))?;
    }
    print_text("")?;
    for request in &state.certificate_requests {
        let made = show_timestamp(request.made_at / 1000);
        print_text(&format!("certificate request {} waits for an outside CA since {made}", request.id))?;
    }
    print_text(&format!("calls of key backends by this node in the last hour: {}", state.kms_calls))?;
    for note in &state.notes {
        print_text(&format!("note: {note}"))?;
    }
    Ok(())
}

fn wait(now: u64, step: &wire::Step) -> String {
    let until = |at: u64| show_about(at.saturating_sub(now).div_ceil(1000));
    match step.deadline {
        Some(deadline) if deadline > step.due => format!("{} to {}", until(step.due), until(deadline)),
        Some(_) | None => until(step.due),
    }
}

fn state_of(authority: &wire::Authority) -> String {
    if authority.tainted_at.is_some() { format!("{}, tainted", authority.slot) } else { authority.slot.clone() }
}

fn name(name: Option<&wire::Name>) -> (&'static str, &str) {
    name.map_or(("-", "-"), |name| (kind_name(name.kind), name.id.as_str()))
}

fn kind_name(number: i32) -> &'static str {
    match wire::Kind::try_from(number) {
        Ok(wire::Kind::X509Root) => AuthorityKind::X509Root.name(),
        Ok(wire::Kind::X509Issuing) => AuthorityKind::X509Issuing.name(),
        Ok(wire::Kind::JwtSvid) => AuthorityKind::JwtSvid.name(),
        Ok(wire::Kind::TransactionToken) => AuthorityKind::TransactionToken.name(),
        Ok(wire::Kind::Unspecified) | Err(_) => "unknown",
    }
}

/// What `-o json` prints. Scripts rely on these fields: none is renamed or removed. Times are milliseconds since the
/// epoch, cluster time.
fn document(state: &wire::State, dry_run: bool) -> Value {
    let named = |one: Option<&wire::Name>| {
        let (kind, id) = name(one);
        (json!(kind), json!(id))
    };
    let authorities = state.authorities.iter().map(|authority| {
        let (kind, id) = named(authority.name.as_ref());
        json!({
            "kind": kind, "id": id, "state": authority.slot, "tainted": authority.tainted_at.is_some(),
            "published_at": authority.published_at, "activated_at": authority.activated_at,
            "stopped_at": authority.stopped_at, "not_after": authority.not_after,
            "unwrapped_by": authority.unwrapped_by, "kept_by": authority.kept_by, "issuer": authority.issuer,
            "algorithm": authority.algorithm, "in_backend": authority.in_backend,
            "outside": authority.outside,
        })
    });
    let plan = state.plan.iter().map(|step| {
        json!({
            "kind": kind_name(step.kind), "id": (!step.id.is_empty()).then_some(&step.id), "action": step.action,
            "due": step.due, "deadline": step.deadline, "why": step.why,
        })
    });
    let bounds = state.bounds.iter().map(|bound| {
        let (kind, id) = named(bound.authority.as_ref());
        json!({"kind": kind, "id": id, "signs_until": bound.signs_until, "accepted_until": bound.accepted_until})
    });
    let requests = state.requests.iter().map(|request| {
        json!({
            "kind": kind_name(request.kind), "at": request.at, "by": request.by, "reason": request.reason,
            "emergency": request.emergency, "revoke_after": request.revoke_after,
        })
    });
    let past = state.past.iter().map(|past| {
        let (kind, id) = named(past.authority.as_ref());
        json!({"kind": kind, "id": id, "at": past.at, "by": past.by, "revoked": past.revoked, "not_after": past.not_after})
    });
    let waiting = state
        .certificate_requests
        .iter()
        .map(|request| json!({"id": request.id, "made_at": request.made_at, "kept_by": request.kept_by}));
    let changed = state.changed.as_ref().map(|changed| json!({"kind": kind_name(changed.kind), "id": changed.id}));
    json!({
        "now": state.now, "dry_run": dry_run, "changed": changed,
        "authorities": authorities.collect::<Vec<_>>(), "plan": plan.collect::<Vec<_>>(),
        "bounds": bounds.collect::<Vec<_>>(), "requests": requests.collect::<Vec<_>>(),
        "past": past.collect::<Vec<_>>(), "certificate_requests": waiting.collect::<Vec<_>>(),
        "kms_calls_last_hour": state.kms_calls, "notes": state.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_find_exactly_these_fields() {
        let name = || Some(wire::Name { kind: wire::Kind::JwtSvid as i32, id: "k".to_owned() });
        let state = wire::State {
            now: 1,
            authorities: vec![wire::Authority {
                name: name(),
                slot: "retiring".to_owned(),
                not_after: 9,
                published_at: 2,
                activated_at: Some(3),
                stopped_at: Some(4),
                tainted_at: Some(5),
                unwrapped_by: vec![1],
                issuer: String::new(),
                kept_by: vec!["file:1".to_owned()],
                algorithm: "RS256".to_owned(),
                in_backend: true,
                outside: Some("CN=Corp".to_owned()),
            }],
            plan: vec![wire::Step {
                kind: wire::Kind::X509Issuing as i32,
                id: String::new(),
                action: "prepare".to_owned(),
                due: 6,
                deadline: None,
                why: "w".to_owned(),
            }],
            bounds: vec![wire::Bound { authority: name(), signs_until: 7, accepted_until: 8 }],
            requests: vec![],
            past: vec![],
            changed: name(),
            kms_calls: 4,
            notes: vec!["n".to_owned()],
            certificate_requests: vec![wire::CertificateRequest {
                id: "c".to_owned(),
                made_at: 10,
                request: vec![1],
                kept_by: vec!["file:1".to_owned()],
            }],
        };
        let expected = json!({
            "now": 1, "dry_run": true, "changed": {"kind": "jwt-svid", "id": "k"},
            "authorities": [{
                "kind": "jwt-svid", "id": "k", "state": "retiring", "tainted": true, "published_at": 2, "activated_at": 3,
                "stopped_at": 4, "not_after": 9, "unwrapped_by": [1], "kept_by": ["file:1"], "issuer": "",
                "algorithm": "RS256", "in_backend": true,
                "outside": "CN=Corp",
            }],
            "plan": [{"kind": "x509-issuing", "id": null, "action": "prepare", "due": 6, "deadline": null, "why": "w"}],
            "bounds": [{"kind": "jwt-svid", "id": "k", "signs_until": 7, "accepted_until": 8}],
            "requests": [], "past": [],
            "certificate_requests": [{"id": "c", "made_at": 10, "kept_by": ["file:1"]}],
            "kms_calls_last_hour": 4, "notes": ["n"],
        });
        assert_eq!(document(&state, true), expected);
    }
}
