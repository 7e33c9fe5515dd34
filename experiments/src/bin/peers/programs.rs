//! Our own programs, built as they stand now.

use crate::failure::Failure;
use crate::process::output;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// This one, which is also the generator of load.
    pub(crate) own: PathBuf,
    pub(crate) ntm: PathBuf,
    pub(crate) bare_forwarder: PathBuf,
    pub(crate) static_tunnel: PathBuf,
    pub(crate) static_relay: PathBuf,
}

impl Programs {
    /// Builds those that are not up to date, and finds them.
    pub(crate) fn build() -> Result<Self, Failure> {
        let own = env::current_exe().map_err(|source| Failure::Start { program: "peers".to_owned(), source })?;
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--locked", "--profile", profile]);
        command.args(["-p", "ntmobile-net", "--examples", "-p", "ntmobile-experiments", "--bin", "ntm"]);
        output(&mut command)?;
        let directory = own.parent().map(Path::to_owned).unwrap_or_default();
        let here = |name: &str| {
            let path = directory.join(name);
            let missing = || Failure::Missing(format!("{} was built elsewhere: start it by cargo run", path.display()));
            if path.exists() { Ok(path) } else { Err(missing()) }
        };
        Ok(Self {
            ntm: here("ntm")?,
            bare_forwarder: here("examples/bare_forwarder")?,
            static_tunnel: here("examples/static_tunnel")?,
            static_relay: here("examples/static_relay")?,
            own,
        })
    }
}
