//! The log of a run: what servers and nodes told, in order, each line with its time.

use ntmobile_actors::events::{EntityEvent, Listener};
use ntmobile_proto::time::Instant;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// The log, while it is written. Clones write the same one.
#[derive(Clone)]
pub(crate) struct EventLog {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    out: Box<dyn Write + Send>,
    failure: Option<io::Error>,
}

impl EventLog {
    /// Writes to `out`.
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { shared: Arc::new(Mutex::new(Shared { out, failure: None })) }
    }

    /// Writes what entities tell, with the time that it is.
    pub(crate) fn listener(&self, now: impl Fn() -> Instant + Send + Sync + 'static) -> Listener {
        let log = self.clone();
        Arc::new(move |entity, event| log.note(now(), entity, event))
    }

    fn note(&self, now: Instant, entity: &str, event: &EntityEvent) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = if event.is_trouble() { '!' } else { ' ' };
        let (seconds, nanoseconds) = (now.0 / 1_000_000_000, now.0 % 1_000_000_000);
        let written = writeln!(shared.out, "{seconds:>6}.{nanoseconds:09} {mark} {entity:<24} {event}");
        if let (Err(error), None) = (written, &shared.failure) {
            shared.failure = Some(error);
        }
    }

    /// Hands everything to the operating system; an error if a line was lost.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.failure.take() {
            Some(error) => Err(error),
            None => shared.out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_proto::account_server::AccountServerEvent;
    use ntmobile_wire::message::RefusalCode;
    use ntmobile_wire::name::Account;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_time_entity_and_event_and_marks_trouble() {
        let paper = Paper::default();
        let log = EventLog::new(Box::new(paper.clone()));
        let listener = log.listener(|| Instant(1_500_000_000));
        let account = Account::parse("alice@u1.example").expect("an account");
        let refused = AccountServerEvent::Refused {
            account: account.clone(),
            code: RefusalCode::WrongCredentials,
            detail: "no such account or credential".into(),
        };
        listener("as.example", &AccountServerEvent::LoggedIn { account }.into());
        listener("as.example", &refused.into());
        log.finish().expect("nothing was lost");
        let text = String::from_utf8(paper.0.lock().expect("one thread").clone()).expect("text");
        assert_eq!(
            text,
            "     1.500000000   as.example               alice@u1.example has logged in\n     1.500000000 ! as.example               \
             alice@u1.example was refused: no such account or credential (WrongCredentials)\n"
        );
    }

    #[test]
    fn a_lost_line_is_told_in_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = EventLog::new(Box::new(Full));
        log.listener(|| Instant::ORIGIN)("x", &EntityEvent::Restarting);
        assert!(log.finish().is_err());
    }
}
