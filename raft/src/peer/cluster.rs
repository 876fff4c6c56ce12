//! Telling in a refusal which cluster refuses: a member of another one learns from it why it is not heard.

use tonic::Status;
use tonic::metadata::{BinaryMetadataKey, BinaryMetadataValue};

/// Adds the cluster to a refusal.
pub(crate) fn with_cluster(mut refusal: Status, cluster: &[u8]) -> Status {
    let key = BinaryMetadataKey::from_static(CLUSTER);
    refusal.metadata_mut().insert_bin(key, BinaryMetadataValue::from_bytes(cluster));
    refusal
}

/// The cluster that refused, if it says so.
pub(crate) fn cluster_in(refusal: &Status) -> Option<Vec<u8>> {
    let told = refusal.metadata().get_bin(CLUSTER)?.to_bytes().ok()?;
    (told.len() == 16).then(|| told.to_vec())
}

const CLUSTER: &str = "signet-cluster-bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_its_cluster_over_the_wire_and_is_otherwise_the_same() {
        let plain = Status::permission_denied("this key is not a member's");
        assert_eq!(cluster_in(&plain), None);
        let response = with_cluster(plain, &[7; 16]).into_http::<()>();
        let read = Status::from_header_map(response.headers()).unwrap();
        assert_eq!((read.message(), cluster_in(&read)), ("this key is not a member's", Some(vec![7; 16])));
        assert_eq!(cluster_in(&with_cluster(Status::internal("x"), &[7; 3])), None);
    }
}
