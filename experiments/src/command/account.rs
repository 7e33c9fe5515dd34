//! `ntm account`: who may log in.

mod password;

use crate::cli::host::{AccountAction, AccountArguments};
use crate::failure::Failure;
use crate::table::Table;
use crate::terminal::Terminal;
use ntmobile_host::accounts::{self, Listed, Order};
use ntmobile_host::authority;
use ntmobile_host::settings::{AccountServerFile, SettingsFile};
use std::io::{Write, stdout};
use std::path::Path;

/// Does what was asked.
pub fn account(arguments: &AccountArguments, terminal: &Terminal) -> Result<(), Failure> {
    let file = AccountServerFile::load(&arguments.config)?;
    let (order, done) = order(&arguments.action)?;
    let accounts = ntmobile_host::node::run(accounts::order(&file, order))?;
    let mut out = stdout().lock();
    match (&arguments.action, accounts.first()) {
        (AccountAction::List { json: true }, _) => {
            let document = serde_json::to_string_pretty(&accounts).expect("an account has a form in JSON");
            writeln!(out, "{document}")?;
        }
        (AccountAction::List { json: false }, None) => {
            writeln!(out, "  there is no account yet: ntm account add alice@u1.example")?;
        }
        (AccountAction::List { json: false }, _) => list(&accounts, terminal, &mut out)?,
        (_, first) => {
            let name = first.map_or("", |account| account.account.as_str());
            writeln!(out, "  {}  {done}", terminal.bold(name))?;
        }
    }
    Ok(())
}

/// What the AS is to do, and what is said when it has.
fn order(action: &AccountAction) -> Result<(Order, &'static str), Failure> {
    Ok(match action {
        AccountAction::List { .. } => (Order::List, ""),
        AccountAction::Add { account, password } => {
            (Order::Add { account: account.clone(), password: password::of(password)? }, "added")
        }
        AccountAction::Password { account, password } => {
            (Order::Password { account: account.clone(), password: password::of(password)? }, "has another password")
        }
        AccountAction::Remove { account } => (Order::Remove { account: account.clone() }, "removed"),
        AccountAction::Disable { account } => {
            (Order::Disable { account: account.clone(), disabled: true }, "disabled: it logs in no more")
        }
        AccountAction::Enable { account } => (Order::Disable { account: account.clone(), disabled: false }, "enabled"),
        AccountAction::Key { account, certificate, remove } => {
            let fingerprint = fingerprint(certificate)?;
            let done = if *remove { "the certificate logs in no more" } else { "the certificate may log in" };
            (Order::Key { account: account.clone(), fingerprint, bound: !remove }, done)
        }
    })
}

/// That of a certificate's file, or what was given as one.
fn fingerprint(certificate: &str) -> Result<String, Failure> {
    let path = Path::new(certificate);
    if path.is_file() || path.extension().is_some() {
        let shown = authority::show(path)?;
        return Ok(shown.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect());
    }
    Ok(certificate.to_owned())
}

fn list(accounts: &[Listed], terminal: &Terminal, out: &mut dyn Write) -> Result<(), Failure> {
    let mut table = Table::default();
    for account in accounts {
        let certificates = match account.certificates.len() {
            0 => String::new(),
            1 => "1 certificate".to_owned(),
            more => format!("{more} certificates"),
        };
        table.row([
            (terminal.bold(&account.account), false),
            (if account.password { "password" } else { "" }.to_owned(), false),
            (certificates, false),
            (if account.disabled { terminal.bad("disabled") } else { String::new() }, false),
        ]);
    }
    table.write(out)?;
    Ok(())
}
