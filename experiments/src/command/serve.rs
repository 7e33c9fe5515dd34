//! `ntm serve`: a server on this host, from its file.

use crate::cli::host::{ServeArguments, ServerKind};
use crate::failure::Failure;
use crate::terminal::Terminal;
use ntmobile_host::serve::{self, ServerFile};
use ntmobile_host::settings::{
    AccountServerFile, CoordinatorFile, LoadError, NamesFile, NotificationServerFile, RelayServerFile, SettingsFile,
};
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

/// Serves until it is told to stop.
pub fn serve(arguments: &ServeArguments, terminal: &Terminal) -> Result<(), Failure> {
    let kind = arguments.server;
    if arguments.example {
        write!(stdout(), "{}", example(kind))?;
        return Ok(());
    }
    let path = arguments.config.clone().unwrap_or_else(|| PathBuf::from(format!("/etc/ntm/{}.toml", word(kind))));
    let file = load(kind, &path)?;
    if arguments.check {
        writeln!(stdout(), "  {}  {}", path.display(), terminal.good("is right"))?;
        return Ok(());
    }
    Ok(serve::run(&file, arguments.log.map(Into::into))?)
}

fn load(kind: ServerKind, path: &Path) -> Result<ServerFile, LoadError> {
    Ok(match kind {
        ServerKind::As => ServerFile::Account(Box::new(AccountServerFile::load(path)?)),
        ServerKind::Dc => ServerFile::Coordinator(Box::new(CoordinatorFile::load(path)?)),
        ServerKind::Rs => ServerFile::Relay(Box::new(RelayServerFile::load(path)?)),
        ServerKind::Ns => ServerFile::Notification(Box::new(NotificationServerFile::load(path)?)),
        ServerKind::Names => ServerFile::Names(Box::new(NamesFile::load(path)?)),
    })
}

fn example(kind: ServerKind) -> &'static str {
    match kind {
        ServerKind::As => AccountServerFile::EXAMPLE,
        ServerKind::Dc => CoordinatorFile::EXAMPLE,
        ServerKind::Rs => RelayServerFile::EXAMPLE,
        ServerKind::Ns => NotificationServerFile::EXAMPLE,
        ServerKind::Names => NamesFile::EXAMPLE,
    }
}

fn word(kind: ServerKind) -> &'static str {
    match kind {
        ServerKind::As => "as",
        ServerKind::Dc => "dc",
        ServerKind::Rs => "rs",
        ServerKind::Ns => "ns",
        ServerKind::Names => "names",
    }
}
