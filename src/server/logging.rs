//! The log, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::config::{LogConfig, LogFormat};

/// Starts logging. A second call in one process has no effect.
pub(super) fn start(config: &LogConfig) {
    // At its ordinary level openraft tells of every heartbeat's bookkeeping; who wants that names it.
    let level = if config.level.contains("openraft") {
        config.level.clone()
    } else {
        format!("{},openraft=warn", config.level)
    };
    // The configuration was checked, so the filter parses.
    let filter = EnvFilter::try_new(level).unwrap_or_default();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
}
