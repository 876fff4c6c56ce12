//! On AWS KMS, as LocalStack plays it: multi-Region keys, credentials from the environment.

use std::process::Command;

use super::serves_and_rotates;
use crate::support::cli::{Said, signet};
use crate::support::localstack::{ACCOUNT, localstack};
use crate::support::node::Keys;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_on_aws_kms_serves_and_rotates() {
    let Some(server) = localstack() else { return };
    let made = server.post("CreateKey", r#"{"MultiRegion":true}"#).unwrap();
    let (_, id) = made.split_once(r#""KeyId": ""#).unwrap();
    let id = id.split('"').next().unwrap();
    let alias = format!(r#"{{"AliasName":"alias/signet/cluster","TargetKeyId":"{id}"}}"#);
    assert!(server.post("CreateAlias", &alias).unwrap().starts_with("HTTP/1.1 200"));
    let replicate = format!(r#"{{"KeyId":"{id}","ReplicaRegion":"eu-west-1"}}"#);
    assert!(server.post("ReplicateKey", &replicate).unwrap().starts_with("HTTP/1.1 200"));
    let backend = format!("awskms:alias/signet/cluster?region=us-east-1,eu-west-1&endpoint={}", server.url());
    let environment = [("AWS_ACCESS_KEY_ID", ACCOUNT), ("AWS_SECRET_ACCESS_KEY", "of no use anywhere")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    serves_and_rotates("AWS KMS", Some(Keys { backend, environment, ..Keys::default() })).await;
}

/// What an operator sees of the keys that a deployment has there.
#[test]
fn the_ledger_lists_and_discards_by_command() {
    let Some(server) = localstack() else { return };
    let made = |tags: &str| {
        let body = format!(r#"{{"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY","Tags":[{tags}]}}"#);
        let answer = server.post("CreateKey", &body).unwrap();
        let (_, id) = answer.split_once(r#""KeyId": ""#).unwrap();
        id.split('"').next().unwrap().to_owned()
    };
    let tags = r#"{"TagKey":"signet:deployment","TagValue":"ledger"},{"TagKey":"signet:label","TagValue":"example.org x509-root"}"#;
    let (unfinished, whole, _others) = (made(tags), made(tags), made(""));
    let alias = format!(r#"{{"AliasName":"alias/signet/ledger/{whole}","TargetKeyId":"{whole}"}}"#);
    assert!(server.post("CreateAlias", &alias).unwrap().starts_with("HTTP/1.1 200"));
    let uri = format!("awskms:alias/unused?region=us-east-1&deployment=ledger&endpoint={}", server.url());
    let ledger = |more: &[&str]| {
        let mut command = Command::new(signet());
        command.env("AWS_ACCESS_KEY_ID", ACCOUNT).env("AWS_SECRET_ACCESS_KEY", "of no use anywhere");
        Said::from(command.args(["key", "ledger", &uri]).args(more).output().unwrap())
    };
    let list = || -> Vec<serde_json::Value> { serde_json::from_value(ledger(&["-o", "json"]).json()).unwrap() };
    let find = |id: &str| list().into_iter().find(|key| key["key"] == id).unwrap();
    assert_eq!(list().len(), 2);
    assert_eq!(
        (find(&unfinished)["stage"].as_str(), find(&whole)["stage"].as_str()),
        (Some("unfinished"), Some("whole"))
    );
    assert_eq!(find(&whole)["made_for"], "example.org x509-root");
    assert_eq!(find(&whole)["authority"].as_str().unwrap().len(), 40);
    assert!(ledger(&["--discard-unfinished"]).done().contains("nothing to discard"), "it is younger than an hour");
    let now = ["--discard-unfinished", "--older-than", "0s"];
    assert!(ledger(&[&now[..], &["--dry-run"]].concat()).done().contains(&unfinished));
    assert_eq!(find(&unfinished)["state"], "Enabled");
    assert!(ledger(&now).done().contains(&unfinished));
    assert_eq!((&find(&unfinished)["state"], &find(&whole)["state"]), (&"PendingDeletion".into(), &"Enabled".into()));
    assert!(ledger(&["--discard", &whole]).refused(1, "failed_precondition").contains("aws kms disable-key"));
    assert!(server.post("DisableKey", &format!(r#"{{"KeyId":"{whole}"}}"#)).unwrap().starts_with("HTTP/1.1 200"));
    assert!(ledger(&["--discard", &whole]).done().contains(&whole));
    assert_eq!(find(&whole)["state"], "PendingDeletion");
}
