//! A join token is consumed exactly once, whoever comes at the same time.

use std::time::Duration;

use crate::figures::{asked, say, told};
use crate::support::cluster::Cluster;
use crate::support::wait::eventually;

/// `SIGNET_JOINS` asks for more tokens. Each makes the cluster larger by one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; ./prove runs it"]
async fn of_two_newcomers_with_one_token_exactly_one_gets_in() {
    let tokens = asked("SIGNET_JOINS", 2);
    let mut cluster = Cluster::of_three().await;
    for number in 1..=tokens {
        let members = cluster.nodes.len();
        let token = cluster.join_token("1h");
        let [mut one, mut other] = ["one", "other"].map(|name| cluster.new_node(&format!("newcomer-{number}-{name}")));
        one.start(Some(&token));
        other.start(Some(&token));
        let refused = eventually(BOUND, "one of the newcomers to be refused", async || {
            match (one.has_ended(), other.has_ended()) {
                (true, true) => panic!("both were refused: {}\n{}", one.log(), other.log()),
                (true, false) => Ok(0),
                (false, true) => Ok(1),
                (false, false) => Err("both run".to_owned()),
            }
        })
        .await;
        let (refused, mut admitted) = if refused == 0 { (one, other) } else { (other, one) };
        assert!(refused.log().contains("token"), "it was refused and does not say why: {}", refused.log());
        admitted.id = eventually(BOUND, "the other newcomer to become a member", async || {
            let status = admitted.status().await?;
            let is_member = status.nodes.iter().filter(|node| matches!(node.role, "leader" | "follower")).count();
            if is_member == members + 1 && !status.stale { Ok(status.answered_by) } else { Err(format!("{status:?}")) }
        })
        .await;
        assert_eq!(cluster.settled(&[0, 1, 2]).await.nodes.len(), members + 1, "both newcomers got in");
        cluster.nodes.push(admitted);
    }
    say(&format!("join tokens: {tokens}, each tried by two newcomers at once, each consumed once"));
    told("join-tokens", tokens);
}

const BOUND: Duration = Duration::from_secs(60);
