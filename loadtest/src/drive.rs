//! Runs the workloads in turn: prepare, find the idle rate, then alternate between floor and cluster.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use signet_api::client::AdminClient;

use crate::Options;
use crate::dev::Cluster;
use crate::doors::https::Forms;
use crate::floor::{self, Floor};
use crate::identities::{self, Entries};
use crate::load::{self, Run};
use crate::report::Measured;
use crate::schedule::Schedule;
use crate::seed::Seed;
use crate::tls::{self, Identity};
use crate::tokens::UserTokens;
use crate::workload::{Payload, Target, Workload};

/// A workload and how fast to run it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub(crate) workload: Workload,
    /// Requests a second.
    pub(crate) rate: u32,
}

impl Planned {
    fn schedule(self, options: &Options) -> Schedule {
        Schedule::new(self.rate, options.warmup, options.duration)
    }

    /// # Errors
    /// It would take more memory than a load test should, or measure nothing.
    fn check(self, options: &Options) -> anyhow::Result<()> {
        ensure!(!options.duration.is_zero(), "--duration must be longer than 0");
        ensure!(!options.timeout.is_zero(), "--timeout must be longer than 0");
        let slots = self.schedule(options).slots();
        let fresh = self.workload == Workload::Exchange { fresh_tokens: true };
        let most = if fresh { MOST_FRESH_TOKENS } else { MOST_REQUESTS };
        ensure!(
            slots <= most,
            "{} at --rate {} for --warmup and --duration makes {slots} requests, more than {most}: lower one of them",
            self.workload.name(),
            self.rate,
        );
        Ok(())
    }
}

/// Runs `plan` against the cluster that the options name, one after the other.
pub(crate) async fn run(plan: &[Planned], options: &Options, seed: u64) -> anyhow::Result<Vec<Measured>> {
    for planned in plan {
        planned.check(options)?;
    }
    let cluster = Cluster::read(&options.dev)?;
    let node = cluster.nodes.first().context("dev.json: nodes is empty")?;
    let admin = AdminClient::connect(&node.admin_socket).await.context("the first node's admin socket")?;
    let entries = Entries::create(&admin, &cluster.trust_domain).await?;
    let drive = Drive {
        options,
        tokens: UserTokens::open(&options.dev, &cluster)?,
        anchors: tls::anchors(&cluster.bundle)?,
        cluster,
        seed: Seed::new(seed),
        entries,
    };
    let mut measured = Vec::with_capacity(plan.len());
    let mut result = Ok(());
    for &planned in plan {
        match drive.measure(planned, &admin).await {
            Ok(workload) => measured.push(workload),
            Err(error) => {
                result = Err(error.context(planned.workload.name()));
                break;
            }
        }
    }
    // Also after a failure: the entries are ours.
    let deleted = drive.entries.delete(&admin).await;
    result.and(deleted).map(|()| measured)
}

struct Drive<'a> {
    options: &'a Options,
    cluster: Cluster,
    anchors: Vec<rustls::pki_types::CertificateDer<'static>>,
    seed: Seed,
    entries: Entries,
    tokens: UserTokens,
}

impl Drive<'_> {
    async fn measure(&self, planned: Planned, admin: &AdminClient) -> anyhow::Result<Measured> {
        let Planned { workload, rate } = planned;
        let name = workload.name();
        let schedule = planned.schedule(self.options);
        let verify = workload == Workload::Exchange { fresh_tokens: true };
        let floor = match self.options.no_floor {
            true => None,
            false => Some(Floor::spawn(verify, self.options.allow_debug).await?),
        };
        progress(&format!("{name}: preparing"));
        let identity = self.identity(workload, admin).await?;
        let target = self.target(&identity);
        let payload = self.payload(workload)?;
        if let Payload::Exchange(forms) = &payload
            && !verify
        {
            target.show(forms).await?;
        }
        let pids = self.cluster.pids();
        progress(&format!("{name}: the cluster at rest"));
        let idle_window = self.options.duration.clamp(SHORTEST_IDLE, LONGEST_IDLE);
        let mut measured = Measured::new(planned, load::idle(idle_window, &pids).await?);
        for repeat in 1..=self.options.repeats {
            let place = format!("{name}: {repeat} of {}, {rate}/s", self.options.repeats);
            if let Some(floor) = &floor {
                progress(&format!("{place}, floor"));
                measured.floor.push(self.once(&floor_target(floor)?, &payload, schedule, &[floor.pid]).await?);
            }
            let payload = if verify { self.fresh(schedule)? } else { payload.clone() };
            progress(&format!("{place}, cluster"));
            measured.cluster.push(self.once(&target, &payload, schedule, &pids).await?);
        }
        Ok(measured)
    }

    /// One run, on connections of its own.
    async fn once(
        &self,
        target: &Target<'_>,
        payload: &Payload,
        schedule: Schedule,
        pids: &[u32],
    ) -> anyhow::Result<Run> {
        let doors = target.open(self.options.connections, payload).await?;
        let run = load::run(&doors, schedule, self.options.timeout, pids).await?;
        ensure!(run.tally.successes() > 0, "every request failed: {}", list(run.tally.errors()));
        Ok(run)
    }

    fn target<'a>(&self, identity: &'a Identity) -> Target<'a> {
        let nodes = || self.cluster.nodes.iter();
        Target {
            trust_domain: self.cluster.trust_domain.clone(),
            anchors: self.anchors.clone(),
            grpc: nodes().map(|node| node.grpc).collect(),
            https: nodes().map(|node| node.https).collect(),
            identity,
        }
    }

    async fn identity(&self, workload: Workload, admin: &AdminClient) -> anyhow::Result<Identity> {
        let id = match workload {
            Workload::X509 { .. } | Workload::Jwt => self.entries.agent.clone(),
            Workload::Exchange { .. } => self.cluster.trust_domain.join(GATEWAY)?,
        };
        identities::mint(admin, &id, self.ttl_secs()).await
    }

    fn payload(&self, workload: Workload) -> anyhow::Result<Payload> {
        let seed = self.seed;
        Ok(match workload {
            Workload::X509 { batch } => Payload::X509 { params: Arc::new(self.entries.x509_params()?), batch, seed },
            Workload::Jwt => Payload::Jwt { entries: Arc::new(self.entries.ids()), seed },
            Workload::Exchange { .. } => {
                let bodies = self.tokens.forms(USERS, self.ttl_secs().into())?;
                Payload::Exchange(Arc::new(Forms { bodies, drawn: Some(seed) }))
            }
        })
    }

    fn fresh(&self, schedule: Schedule) -> anyhow::Result<Payload> {
        progress("signing access tokens");
        let bodies = self.tokens.forms(schedule.slots(), self.ttl_secs().into())?;
        Ok(Payload::Exchange(Arc::new(Forms { bodies, drawn: None })))
    }

    /// How long identities and tokens of one workload must be good for.
    fn ttl_secs(&self) -> u32 {
        let once = self.options.warmup + self.options.duration + self.options.timeout;
        let all = once * (2 * u32::from(self.options.repeats)) + LONGEST_IDLE + PREPARATION;
        u32::try_from(all.as_secs()).unwrap_or(u32::MAX)
    }
}

fn floor_target(floor: &Floor) -> anyhow::Result<Target<'_>> {
    Ok(Target {
        trust_domain: floor::TRUST_DOMAIN.parse()?,
        anchors: floor.client.anchors.clone(),
        grpc: vec![floor.addresses.grpc],
        https: vec![floor.addresses.https],
        identity: &floor.client.identity,
    })
}

fn list(errors: &std::collections::BTreeMap<String, u64>) -> String {
    errors.iter().map(|(code, count)| format!("{count} × {code}")).collect::<Vec<_>>().join(", ")
}

/// Says on standard error what goes on; standard output is the report's.
fn progress(what: &str) {
    eprintln!("loadtest: {what}");
}

/// The identity that the demo policy lets exchange users' tokens.
const GATEWAY: &str = "/gateway";
/// Users whose tokens are exchanged again and again.
const USERS: u64 = 64;
/// Some minutes at any rate that two cores can hold.
const MOST_REQUESTS: u64 = 2_000_000;
/// They are all in memory before the run, at about 1 kB each.
const MOST_FRESH_TOKENS: u64 = 200_000;
const SHORTEST_IDLE: Duration = Duration::from_secs(1);
const LONGEST_IDLE: Duration = Duration::from_secs(10);
/// Time for what is done before and between runs, generously.
const PREPARATION: Duration = Duration::from_secs(600);
