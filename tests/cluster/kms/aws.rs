//! On AWS KMS, as LocalStack plays it: multi-Region keys, credentials from the environment.

use super::serves_and_rotates;
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
