//! `ntm ca`: the network's certificate authority and what it issues.

use crate::cli::host::{CaAction, CaArguments};
use crate::failure::Failure;
use crate::table::Table;
use crate::terminal::Terminal;
use ntmobile_host::authority::{self, Shown, Wanted};
use ntmobile_host::credentials::{ROLES, SOON, short};
use ntmobile_host::files::Present;
use ntmobile_host::validity::{Moment, Span, Written};
use ntmobile_net::clock::OsClock;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::time::UnixTime;
use ntmobile_wire::name::Fqdn;
use std::io::{Write, stdout};
use std::path::Path;

/// Does what was asked.
pub fn ca(arguments: &CaArguments, terminal: &Terminal) -> Result<(), Failure> {
    let (directory, now) = (arguments.dir.as_path(), OsClock.wall());
    let shown = match &arguments.action {
        CaAction::Init { lifetime, force } => {
            vec![authority::init(directory, lifetime.duration(), now, present(*force))?]
        }
        CaAction::Issue { role, name, out, lifetime, force } => {
            let name = Fqdn::parse(name)?;
            let out = out.clone().unwrap_or_else(|| directory.join("issued").join(name.as_str()));
            let wanted = Wanted { name: &name, role: role_named(role), lifetime: lifetime.duration() };
            vec![authority::issue(directory, &wanted, &out, now, present(*force))?]
        }
        CaAction::Show { path: Some(path) } if path.is_dir() => authority::list(path)?,
        CaAction::Show { path: Some(path) } => vec![authority::show(path)?],
        CaAction::Show { path: None } => everything(directory)?,
    };
    print(&shown, now, terminal)
}

fn present(force: bool) -> Present {
    if force { Present::Replace } else { Present::Keep }
}

fn role_named(name: &str) -> CertificateRole {
    let role = ROLES.iter().find(|(known, _)| *known == name);
    role.expect("the command line takes no other").1
}

/// The authority's own certificate, and all that lie where it issues to.
fn everything(directory: &Path) -> Result<Vec<Shown>, Failure> {
    let mut shown = authority::list(directory)?;
    let mut issued: Vec<_> = match std::fs::read_dir(directory.join("issued")) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        // Nothing was issued yet, or to elsewhere.
        Err(_) => Vec::new(),
    };
    issued.sort();
    for host in issued.iter().filter(|path| path.is_dir()) {
        shown.extend(authority::list(host)?.into_iter().filter(|shown| shown.bearer.is_some()));
    }
    Ok(shown)
}

fn print(shown: &[Shown], now: UnixTime, terminal: &Terminal) -> Result<(), Failure> {
    let mut table = Table::default();
    for certificate in shown {
        let (role, name) = match &certificate.bearer {
            Some((name, role)) => (short(*role), name.to_string()),
            None => ("ca", "the authority".to_owned()),
        };
        let until = Written(certificate.validity.until);
        let state = match certificate.validity.at(now) {
            Moment::Within(left) if left < SOON => terminal.notable(&format!("expires in {}", Span(left))),
            Moment::Within(left) => terminal.good(&format!("holds for {}", Span(left))),
            Moment::TooLate(ago) => terminal.bad(&format!("expired {} ago", Span(ago))),
            Moment::TooEarly(left) => terminal.bad(&format!("holds only in {}", Span(left))),
        };
        let fingerprint: String = certificate.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        table.row([
            (role.to_owned(), false),
            (terminal.bold(&name), false),
            (format!("until {until}"), false),
            (state, false),
            (terminal.faint(&certificate.path.display().to_string()), false),
            (terminal.faint(&fingerprint), false),
        ]);
    }
    let mut out = stdout().lock();
    table.write(&mut out)?;
    out.flush()?;
    Ok(())
}
