//! The log, on standard error; its latest lines are kept in memory for bug reports.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

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
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Recent(&RECENT));
    let started = match config.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
}

/// The latest lines, oldest first.
pub(super) fn recent() -> Vec<u8> {
    RECENT.text()
}

/// Standard error, and the memory of what was written there.
#[derive(Debug, Clone, Copy)]
struct Recent(&'static Lines);

/// Lines up to so many bytes together; the oldest go first.
#[derive(Debug)]
struct Lines {
    kept: Mutex<Kept>,
    limit: usize,
}

#[derive(Debug)]
struct Kept {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Lines {
    const fn new(limit: usize) -> Self {
        Self { kept: Mutex::new(Kept { lines: VecDeque::new(), bytes: 0 }), limit }
    }

    fn keep(&self, line: &[u8]) {
        let line = line.get(..line.len().min(self.limit / 4)).unwrap_or(line);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.len();
        kept.lines.push_back(line.to_vec());
        while kept.bytes > self.limit {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.len();
        }
    }

    fn text(&self) -> Vec<u8> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).lines.iter().flatten().copied().collect()
    }
}

impl Write for Recent {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The log comes in whole lines.
        self.0.keep(line);
        // Whoever reads it may have gone; that must not end the log kept here.
        let _ = io::stderr().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Recent {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

static RECENT: Lines = Lines::new(KEPT_BYTES);
/// Some thousand lines: the story of what went wrong, and never much memory.
const KEPT_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_lines_are_kept_and_never_more_than_the_limit() {
        let lines = Lines::new(100);
        for nth in 0..50 {
            lines.keep(format!("line {nth}\n").as_bytes());
        }
        let text = String::from_utf8(lines.text()).unwrap();
        assert!(text.len() <= 100 && text.ends_with("line 48\nline 49\n") && !text.contains("line 2\n"), "{text}");
        lines.keep(&[b'x'; 1000]);
        assert!(lines.text().len() <= 100);
    }
}
