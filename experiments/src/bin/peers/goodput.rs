//! One stream of an application that links its transport in, over a cable that loses: ours, and QUIC's beside it.
//!
//! The cable loses datagrams by chance, both ways, in the receiving end's packet filter. What one call sends is cut before it
//! leaves, so that one datagram is lost at a time.

use crate::asked::Asked;
use crate::failure::Failure;
use crate::load::QUIC_PORT;
use crate::network::node_name;
use crate::site::Site;
use crate::topology::{FAR, Side, Topology};
use std::thread::sleep;
use std::time::Duration;

/// How long a stream grows before it is counted.
const GROWING: Duration = Duration::from_millis(500);

/// Whose stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Library,
    Quic,
}

/// How much is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    None,
    Thousandth,
    Hundredth,
}

impl Loss {
    const ALL: [Self; 3] = [Self::None, Self::Thousandth, Self::Hundredth];

    /// How tables call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::None => "no loss",
            Self::Thousandth => "0.1 %",
            Self::Hundredth => "1 %",
        }
    }

    /// One of how many.
    fn one_of(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Thousandth => Some(1_000),
            Self::Hundredth => Some(100),
        }
    }
}

impl Stream {
    pub(crate) const ALL: [Self; 2] = [Self::Library, Self::Quic];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Library => "ours (library, TCP)",
            Self::Quic => "QUIC by quinn",
        }
    }

    /// What it carries at each loss, in megabits a second.
    pub(crate) fn measure(self, site: &Site, seconds: u64) -> Result<Vec<(Loss, f64)>, Failure> {
        let topology = &site.topology;
        let _lossy = LossyCable::new(topology)?;
        let (mut swallowing, mut sending) = self.start(site)?;
        let mut measured = Vec::new();
        for loss in Loss::ALL {
            lose(topology, loss)?;
            let longer = Duration::from_secs(seconds) + GROWING * 2;
            let mut count = || -> Result<f64, Failure> {
                let said = swallowing.ask("")?;
                said.parse().map_err(|_| Failure::Answer { program: "the swallowing end", said })
            };
            sending.say(&longer.as_millis().to_string())?;
            sleep(GROWING);
            let before = count()?;
            sleep(Duration::from_secs(seconds));
            let octets = count()? - before;
            lose(topology, Loss::None)?;
            sending.hear()?;
            measured.push((loss, octets * 8.0 / 1e6 / seconds as f64));
        }
        Ok(measured)
    }

    /// The end that swallows and the end that sends.
    fn start(self, site: &Site) -> Result<(Asked, Asked), Failure> {
        let Site { topology, programs, .. } = site;
        let own = &programs.own;
        match self {
            Self::Library => {
                let network = site.network()?;
                let mut far = network.command(topology, Side::Far, own);
                let swallowing = Asked::start("load library", far.args(["load", "library", "far.toml"]))?;
                let mut near = network.command(topology, Side::Near, own);
                near.args(["load", "library", "near.toml", node_name(Side::Far)]);
                Ok((swallowing, Asked::start("load library", &mut near)?))
            }
            Self::Quic => {
                let certificate = topology.file("quic.der");
                let mut far = topology.command("far", own);
                let swallowing = Asked::start("load quic", far.args(["load", "quic"]).arg(&certificate))?;
                let mut near = topology.command("near", own);
                near.args(["load", "quic"]).arg(&certificate).arg(format!("{FAR}:{QUIC_PORT}"));
                Ok((swallowing, Asked::start("load quic", &mut near)?))
            }
        }
    }
}

/// The cable as long as it cuts and loses; afterwards it is as it was.
struct LossyCable<'a>(&'a Topology);

impl<'a> LossyCable<'a> {
    fn new(topology: &'a Topology) -> Result<Self, Failure> {
        let this = Self(topology);
        this.set_train_length("1")?;
        Ok(this)
    }

    fn set_train_length(&self, segments: &str) -> Result<(), Failure> {
        let set = |side: Side| self.0.ip_at(side.name(), &["link", "set", "wire0", "gso_max_segs", segments]);
        Side::BOTH.into_iter().try_for_each(set)
    }
}

impl Drop for LossyCable<'_> {
    fn drop(&mut self) {
        // The namespaces go anyway if this should fail.
        let _ = lose(self.0, Loss::None).and_then(|()| self.set_train_length("65535"));
    }
}

/// Loses so much at both ends from now on.
fn lose(topology: &Topology, loss: Loss) -> Result<(), Failure> {
    let rule = loss.one_of().map_or(String::new(), |all| format!("iifname \"wire0\" numgen random mod {all} < 1 drop"));
    let rules = format!(
        "table inet loss\ndelete table inet loss\ntable inet loss {{\nchain arriving {{\n\
         type filter hook prerouting priority -300\n{rule}\n}}\n}}\n"
    );
    let path = topology.file("loss.nft");
    std::fs::write(&path, rules).map_err(|source| Failure::File { path: path.clone(), source })?;
    for side in Side::BOTH {
        topology.run(side.name(), "nft", &["-f", &path.to_string_lossy()])?;
    }
    Ok(())
}
