//! `[log]`: what is written to standard error.

use serde::Deserialize;

use super::Mistakes;

#[derive(Debug, Clone)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    /// A filter such as `info` or `signet_raft=debug,info`.
    pub(crate) level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    format: Option<String>,
    level: Option<String>,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<LogConfig> {
        let format = match self.format.as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                mistakes.add("log.format", format_args!("{other:?} is neither \"text\" nor \"json\""));
                return None;
            }
        };
        let level = self.level.unwrap_or_else(|| "info".to_owned());
        if let Err(cause) = tracing_subscriber::EnvFilter::try_new(&level) {
            mistakes.add("log.level", format_args!("{level:?}: {cause}"));
        }
        Some(LogConfig { format, level })
    }
}
