//! Log lines on standard error: for people or as JSON, as much as the filter lets through; panics among them.

use crate::settings::LogForm;
use ntmobile_telemetry::Recorder;
use std::collections::BTreeMap;
use std::io;
use std::panic;
use std::time::Duration;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How often counters are looked at.
const EVERY: Duration = Duration::from_secs(10);

/// The filter is none.
#[derive(Debug, Error)]
#[error("{filter:?} is no log filter such as \"info\" or \"info,ntmobile_host=debug\": {source}")]
pub struct FilterError {
    filter: String,
    source: ParseError,
}

/// Begins to write log lines. A process that writes some already goes on as it did.
pub fn start(form: LogForm, filter: &str) -> Result<(), FilterError> {
    let parsed = EnvFilter::try_new(filter).map_err(|source| FilterError { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(io::stderr).with_target(false);
    // One that is there already stays: tests start many servers in one process.
    let _ = match form {
        LogForm::Pretty => lines.try_init(),
        LogForm::Json => lines.json().try_init(),
    };
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {}", panic.payload_as_str().unwrap_or("without a message"));
        before(panic);
    }));
    Ok(())
}

/// Logs what is counted, every ten seconds, for as long as it is polled: what should not happen as warnings, the rest for
/// those who debug.
pub(crate) async fn tell_counts(recorder: Recorder) {
    let mut before: BTreeMap<(String, String), u64> = BTreeMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let now = match recorder.counts() {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!(%error, "counters cannot be read");
                continue;
            }
        };
        for ((entity, counter), &count) in &now {
            let more = count - before.get(&(entity.clone(), counter.clone())).copied().unwrap_or_default();
            if more == 0 {
                continue;
            }
            if is_trouble(counter) {
                tracing::warn!(entity, counter, more, "counted");
            } else {
                tracing::debug!(entity, counter, more, "counted");
            }
        }
        before = now;
    }
}

/// Whether whoever runs the server should hear of it.
fn is_trouble(counter: &str) -> bool {
    ["panic", "store_failed", "overload", "socket_error", "relay_failed", "key_expired"]
        .iter()
        .any(|sign| counter.ends_with(sign))
}
