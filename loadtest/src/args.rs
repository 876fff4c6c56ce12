//! What the command line says, before anything is opened.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// Puts a fixed load on a cluster and says what it costs.
///
/// The rate is held whether or not answers come: each request has an intended start, and its latency counts from there.
/// The same requests at the same rate also go to a floor, a server that does the bare cryptography and nothing else, so
/// that the result is a ratio which holds on any machine.
#[derive(Debug, Clone, Parser)]
#[command(
    after_help = "Example, with `signet dev --data /tmp/demo` running in another terminal:\n  signet loadtest all --dev /tmp/demo --duration 20s"
)]
pub struct Args {
    /// What to ask for.
    #[command(subcommand)]
    pub command: Command,
}

/// The workloads.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// X.509-SVIDs over gRPC and mTLS (BatchNewX509SVID).
    X509 {
        /// SVIDs in each call.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500))]
        batch: u16,
        /// How to run it.
        #[command(flatten)]
        options: Options,
    },
    /// JWT-SVIDs over gRPC and mTLS (NewJWTSVID).
    Jwt {
        /// How to run it.
        #[command(flatten)]
        options: Options,
    },
    /// Transaction tokens over HTTPS and mTLS (POST /token), for a user's access token.
    Exchange {
        /// Send each access token once, so that each must be verified, instead of one that was seen before.
        #[arg(long)]
        fresh_tokens: bool,
        /// How to run it.
        #[command(flatten)]
        options: Options,
    },
    /// All of them in turn: x509, x509 in batches of 50, jwt, exchange, exchange with fresh tokens.
    All {
        /// How to run each.
        #[command(flatten)]
        options: Options,
    },
    /// Creates registration entries as fast as the cluster takes them, and deletes them again.
    Writes {
        /// How to run it.
        #[command(flatten)]
        writing: Writing,
    },
    /// Writes without pause while you kill or drain nodes, and says how long no write got through.
    Failover {
        /// How to run it.
        #[command(flatten)]
        drill: Drill,
    },
    /// Asks nothing for a while, and says what the nodes cost then: processor time, memory, wake-ups.
    Idle {
        /// How to watch.
        #[command(flatten)]
        resting: Resting,
    },
    /// The floor: run by the load test itself, ends when its standard input does.
    #[command(hide = true)]
    FloorServer {
        /// Run although this is a debug build. For tests of the load test itself.
        #[arg(long, hide = true)]
        allow_debug: bool,
    },
}

/// How a workload runs.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The data folder of a running `signet dev --data DIR`: its dev.json says where the nodes are.
    #[arg(long, value_name = "DIR")]
    pub dev: PathBuf,
    /// Requests begun per second, over all nodes together. A call with a batch counts as one; in `all` batches run at a
    /// twentieth of this. [default: 1000, and 20 for batches
    /// of more than 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: Option<u32>,
    /// How long to measure, each time: `20s`, `2m`, `500ms`.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// How long to run before measuring begins, each time.
    #[arg(long, default_value = "3s", value_parser = duration)]
    pub warmup: Duration,
    /// Connections, spread evenly over the nodes and kept open.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// How often to measure, alternating between cluster and floor; the report shows medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=25))]
    pub repeats: u8,
    /// Give up on a request this long after its intended start, and count an error.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub timeout: Duration,
    /// Repeats the order of nodes and the identities of an earlier run. [default: drawn, and printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Leave the floor out: no ratio, half the time.
    #[arg(long)]
    pub no_floor: bool,
    /// How to print the report.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Run although this is a debug build. For tests of the load test itself: the figures mean nothing.
    #[arg(long, hide = true)]
    pub allow_debug: bool,
}

/// How entries are written.
#[derive(Debug, Clone, clap::Args)]
pub struct Writing {
    /// The data folder of a running `signet dev --data DIR`: its dev.json says where the nodes are.
    #[arg(long, value_name = "DIR")]
    pub dev: PathBuf,
    /// Clients at once, each with one call at a time; one round for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256,1024", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub clients: Vec<u16>,
    /// Entries in each call.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub batch: u16,
    /// How long each round lasts: `20s`, `2m`.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// End a round when so many entries were created, if that is earlier. [default: no such end]
    #[arg(long, default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u64).range(..=20_000_000))]
    pub entries: u64,
    /// Leave the entries there, to fill a cluster.
    #[arg(long)]
    pub keep: bool,
    /// Names the entries of this run. [default: drawn]
    #[arg(long)]
    pub seed: Option<u64>,
    /// How to print the report.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Run although this is a debug build. For tests of the load test itself: the figures mean nothing.
    #[arg(long, hide = true)]
    pub allow_debug: bool,
}

/// How a failover drill runs.
#[derive(Debug, Clone, clap::Args)]
pub struct Drill {
    /// The data folder of a running `signet dev --data DIR`: its dev.json says where the nodes are.
    #[arg(long, value_name = "DIR")]
    pub dev: PathBuf,
    /// How long to write: `60s`, `2m`.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub duration: Duration,
    /// How to print the report.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Run although this is a debug build. For tests of the load test itself: the figures mean nothing.
    #[arg(long, hide = true)]
    pub allow_debug: bool,
}

/// How an idle cluster is watched.
#[derive(Debug, Clone, clap::Args)]
pub struct Resting {
    /// The data folder of a running `signet dev --data DIR`: its dev.json says where the nodes are.
    #[arg(long, value_name = "DIR")]
    pub dev: PathBuf,
    /// How long to watch. Linux counts in hundredths of a second, so a short look is a rough one.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub seconds: u16,
    /// How to print the report.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Run although this is a debug build. For tests of the load test itself: the figures mean nothing.
    #[arg(long, hide = true)]
    pub allow_debug: bool,
}

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Parses `20s`, `2m`, `500ms`; bounded, so that every run ends.
fn duration(text: &str) -> Result<Duration, String> {
    let problem = || format!("{text:?} is not a duration such as 20s, 2m or 500ms");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| problem())?;
    let millis_each = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        _ => return Err(problem()),
    };
    match number.checked_mul(millis_each).map(Duration::from_millis) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(format!("{text:?} is too long: at most 60m")),
    }
}

const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_with_their_units() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
    }

    #[test]
    fn refuses_durations_that_are_malformed_or_endless() {
        for bad in ["", "s", "-1s", "1h", "1.5s", "61m", "99999999999999999999s", "20 s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
