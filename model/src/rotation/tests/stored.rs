//! Frozen bytes: what was written once loads for ever.

use crate::algorithm::{KeyAlgorithm, KeyChoice, KeySettings};
use crate::authority::{Authority, AuthorityKind, CertificateRequest, Life, Outside, Slot, StoredKey, WrappedKey};
use crate::caller::Caller;
use crate::command::{AuthorityRef, Command, RotationSettings, Settings};
use crate::recipient::{BackendState, NodeBackends, Recipient, Recipients, Rewrapped};
use crate::rotation::{PastAuthority, RotationRequest};
use crate::stored::{from_bytes, to_bytes};
use crate::time::UnixTime;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn which() -> AuthorityRef {
    AuthorityRef { kind: AuthorityKind::JwtSvid, id: "k".into() }
}

fn authority(life: Life) -> Authority {
    Authority {
        kind: AuthorityKind::X509Issuing,
        id: "k".into(),
        slot: Slot::Retiring,
        public_key: vec![1],
        certificate: vec![2],
        key: StoredKey::Wrapped { for_recipients: vec![WrappedKey { recipient: "r".into(), blob: vec![3] }] },
        created_at: UnixTime::from_millis(4),
        not_after: UnixTime::from_millis(5),
        life,
        outside: None,
    }
}

fn settings() -> Settings {
    let rotation = RotationSettings {
        x509_root_secs: 1,
        x509_issuing_secs: 2,
        jwt_svid_secs: 3,
        transaction_token_secs: 4,
        publish_secs: 5,
    };
    Settings { rotation: Some(rotation), ..super::world::settings() }
}

#[test]
fn an_authority_of_the_first_form_loads_as_one_to_which_nothing_happened() {
    let old: Authority =
        from_bytes(&bytes("8801616b024101410282018181826172410304 05".replace(' ', "").as_str())).unwrap();
    assert_eq!(old, authority(Life::default()));
}

#[test]
fn an_authority_loads_with_all_that_happened_to_it() {
    let life = Life {
        added_at_index: 6,
        published_at: Some(UnixTime::from_millis(7)),
        activated_at: Some(UnixTime::from_millis(8)),
        stopped_at: Some(UnixTime::from_millis(9)),
        tainted_at: Some(UnixTime::from_millis(10)),
        revoke_after_secs: Some(11),
        unwrapped_by: vec![1, 2],
        issuer: "r".into(),
    };
    frozen(&authority(life), "8901616b0241014102820181818261724103040588060708090a0b8201026172");
}

#[test]
fn an_authority_loads_with_the_certificates_above_it() {
    let outside = Some(Outside { above: vec![vec![6].into(), vec![7, 8].into()] });
    let authority = Authority { outside, ..authority(Life::default()) };
    frozen(
        &authority,
        "8a01616b0241014102820181818261724103040588 00f6f6f6f6f68060 8182410642 0708".replace(' ', "").as_str(),
    );
}

#[test]
fn certificate_requests_load_for_ever() {
    let key = StoredKey::InBackend { backend: "file".into(), reference: vec![1], recipient: Some("r".into()) };
    let made_at = UnixTime::from_millis(4);
    let request = CertificateRequest { id: "k".into(), public_key: vec![2], key, request: vec![3], made_at };
    frozen(&Command::KeepCertificateRequest { request }, "82181f8185616b41028200836466696c6541016172410304");
    frozen(&Command::DropCertificateRequest { id: "k".into() }, "82182081616b");
}

#[test]
fn commands_about_authorities_load_for_ever() {
    let (authority, expected_epoch) = (which(), 7);
    let commands = [
        (
            Command::ActivateAuthority {
                authority: authority.clone(),
                expected_epoch,
                waits_for: vec![1, 3],
                force: true,
            },
            "8214848202616b07820103f5",
        ),
        (Command::TaintAuthority { authority: authority.clone(), expected_epoch }, "8215828202616b07"),
        (Command::RevokeAuthority { authority: authority.clone(), expected_epoch, force: false }, "8216838202616b07f4"),
        (Command::RetireAuthority { authority: authority.clone(), expected_epoch }, "8217828202616b07"),
        (
            Command::RequestRotation {
                kinds: AuthorityKind::ALL.to_vec(),
                reason: "why".into(),
                emergency: true,
                revoke_after_secs: Some(9),
            },
            "82181884840001020363776879f509",
        ),
        (Command::ReportUnwrapped { node: 3, authorities: vec![authority] }, "8218198203818202616b"),
    ];
    for (command, hex) in commands {
        frozen(&command, hex);
    }
}

#[test]
fn recipients_and_what_commands_say_of_them_load_for_ever() {
    let wrapped = WrappedKey { recipient: "r".into(), blob: vec![3] };
    let wrapped = vec![Rewrapped { authority: which(), wrapped }];
    let backends = vec![
        BackendState { name: "file:/k".into(), recipient: Some("r".into()), problem: String::new() },
        BackendState { name: "file:/l".into(), recipient: None, problem: "p".into() },
    ];
    let recipient = || "r".to_owned();
    for (command, hex) in [
        (
            Command::AddRecipient {
                recipient: recipient(),
                wrapped: wrapped.clone(),
                roots: true,
                expected_version: 7,
            },
            "82181a84617281828202616b8261724103f507",
        ),
        (
            Command::RemoveRecipient { recipient: recipient(), expected_version: 7, voters: vec![1, 3], force: true },
            "82181b84617207820103f5",
        ),
        (Command::RewrapKeys { wrapped }, "82181c8181828202616b8261724103"),
        (
            Command::ReportBackends { node: 3, backends: backends.clone() },
            "82181d820382836766696c653a2f6b617260836766696c653a2f6cf66170",
        ),
        (Command::PlaceRoots { recipient: recipient(), expected_version: 7 }, "82181e82617207"),
    ] {
        frozen(&command, hex);
    }
    let first = Recipient { id: recipient(), added_at: UnixTime::from_millis(4), added_by: None };
    let second = Recipient { added_by: Some(Caller::Node { node: 3 }), ..first.clone() };
    frozen(
        &Recipients { version: 2, list: vec![first, second], roots: recipient() },
        "8302828261720483617204820281036172",
    );
    frozen(
        &NodeBackends { node: 3, at: UnixTime::from_millis(4), backends },
        "83030482836766696c653a2f6b617260836766696c653a2f6cf66170",
    );
    let in_backend =
        |recipient: Option<String>| StoredKey::InBackend { backend: "file".into(), reference: vec![1], recipient };
    frozen(&in_backend(None), "8200826466696c654101");
    frozen(&in_backend(Some(recipient())), "8200836466696c6541016172");
}

#[test]
fn what_the_plan_depends_on_loads_for_ever() {
    let request = RotationRequest {
        kind: AuthorityKind::X509Root,
        index: 1,
        at: UnixTime::from_millis(2),
        by: Caller::Node { node: 3 },
        reason: "why".into(),
        emergency: false,
        revoke_after_secs: None,
    };
    frozen(&request, "860001028202810363776879f4");
    let past = PastAuthority {
        authority: which(),
        index: 1,
        at: UnixTime::from_millis(2),
        revoked: true,
        by: Caller::Node { node: 3 },
        not_after: UnixTime::from_millis(4),
    };
    frozen(&past, "868202616b0102f58202810304");
    frozen(
        &settings(),
        "8a6b6578616d706c652e6f7267782030303131323233333434353536363737383839396161626263636464656566667768747470733a2f2f7474732e6578616d706c652e6f726760183c181e0a04f4850102030405",
    );
    let keys = KeySettings {
        jwt_svid: KeyChoice { algorithm: KeyAlgorithm::Rsa2048, in_backend: true },
        ..KeySettings::default()
    };
    frozen(
        &Settings { keys: Some(keys), ..settings() },
        "8b6b6578616d706c652e6f7267782030303131323233333434353536363737383839396161626263636464656566667768747470733a2f2f7474732e6578616d706c652e6f726760183c181e0a04f48501020304058482 00f48200f48202f58200f4".replace(' ', "").as_str(),
    );
    let without = Settings { rotation: None, ..settings() };
    frozen(
        &without,
        "896b6578616d706c652e6f7267782030303131323233333434353536363737383839396161626263636464656566667768747470733a2f2f7474732e6578616d706c652e6f726760183c181e0a04f4",
    );
}

fn frozen<T>(value: &T, expected: &str)
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + PartialEq + std::fmt::Debug,
{
    assert_eq!(hex(&to_bytes(value)), expected, "{value:?}");
    assert_eq!(from_bytes::<T>(&bytes(expected)).unwrap(), *value);
}
