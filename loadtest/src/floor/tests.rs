use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use signet_api::proto::svid::NewX509svidParams;
use tokio::task::JoinHandle;

use super::*;
use crate::doors::https::Forms;
use crate::load;
use crate::schedule::Schedule;
use crate::seed::Seed;
use crate::workload::{Payload, Target};

struct Running {
    addresses: Addresses,
    client: ClientSide,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Running {
    async fn start(verify_tokens: bool) -> Self {
        let (tls, client) = pki::create().unwrap();
        let server = Server::bind(&Setup { tls, verify_tokens }).await.unwrap();
        let (addresses, stop) = (server.addresses(), CancellationToken::new());
        Self { addresses, client, server: tokio::spawn(server.run(stop.clone())), stop }
    }

    fn target(&self) -> Target<'_> {
        Target {
            trust_domain: TRUST_DOMAIN.parse().unwrap(),
            anchors: self.client.anchors.clone(),
            grpc: vec![self.addresses.grpc],
            https: vec![self.addresses.https],
            identity: &self.client.identity,
        }
    }

    /// Sends 20 requests in 100 ms over three connections and insists that each is answered.
    async fn answers(self, payload: &Payload) {
        let doors = self.target().open(3, payload).await.unwrap();
        let schedule = Schedule::new(200, Duration::ZERO, Duration::from_millis(100));
        let run = load::run(&doors, schedule, Duration::from_secs(30), &[std::process::id()]).await.unwrap();
        assert_eq!(run.tally.errors().len(), 0, "{:?}", run.tally.errors());
        assert_eq!(run.tally.successes(), 20);
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.server).await.unwrap().unwrap();
    }
}

fn forms(drawn: Option<Seed>) -> Payload {
    Payload::Exchange(Arc::new(Forms { bodies: vec![Bytes::from_static(b"subject_token=a.b.c"); 20], drawn }))
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_exchanges_of_known_and_of_fresh_tokens() {
    Running::start(false).await.answers(&forms(Some(Seed::new(1)))).await;
    Running::start(true).await.answers(&forms(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_requests_for_x509_svids_alone_and_in_batches() {
    let params = Arc::new(vec![NewX509svidParams { entry_id: "e".to_owned(), csr: vec![0x30; 280] }; 10]);
    for batch in [1, 50] {
        let payload = Payload::X509 { params: Arc::clone(&params), batch, seed: Seed::new(1) };
        Running::start(false).await.answers(&payload).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_requests_for_jwt_svids() {
    let payload = Payload::Jwt { entries: Arc::new(vec!["e".to_owned()]), seed: Seed::new(1) };
    Running::start(false).await.answers(&payload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_serve_clients_of_another_authority() {
    let floor = Running::start(false).await;
    let stranger = Running::start(false).await;
    let target = Target { identity: &stranger.client.identity, ..floor.target() };
    let Payload::Exchange(all) = forms(None) else { unreachable!() };
    // With TLS 1.3 the refusal may come after the client's half of the handshake.
    assert!(target.show(&all).await.is_err());
}
