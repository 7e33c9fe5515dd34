//! What is measured of a contestant, one file each.

pub(crate) mod datagrams;
pub(crate) mod ping;
pub(crate) mod tcp;

/// Everything that a figure can be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// One TCP stream.
    Tcp1,
    /// The tool's processor time for it.
    Tcp1Tool,
    /// The whole machine's.
    Tcp1Machine,
    /// Eight TCP streams.
    Tcp8,
    /// The tool's processor time for them.
    Tcp8Tool,
    /// The highest rate of large datagrams of which less than 1 % are lost.
    UdpRate,
    /// The same of small ones.
    SmallRate,
    /// The mean round trip when nothing else is sent.
    PingIdle,
    /// The mean round trip beside one TCP stream.
    PingLoaded,
    /// What one in a hundred of those round trips exceeds.
    PingLoadedWorst,
}

impl Measure {
    pub(crate) const ALL: [Self; 10] = [
        Self::Tcp1,
        Self::Tcp1Tool,
        Self::Tcp1Machine,
        Self::Tcp8,
        Self::Tcp8Tool,
        Self::UdpRate,
        Self::SmallRate,
        Self::PingIdle,
        Self::PingLoaded,
        Self::PingLoadedWorst,
    ];

    /// What it is called: what, and in which unit.
    pub(crate) fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::Tcp1 => ("TCP, 1 stream", "Mb/s"),
            Self::Tcp1Tool => ("its CPU", "s/GB"),
            Self::Tcp1Machine => ("machine's", "s/GB"),
            Self::Tcp8 => ("TCP, 8", "Mb/s"),
            Self::Tcp8Tool => ("CPU, 8", "s/GB"),
            Self::UdpRate => ("UDP <1 %", "Mb/s"),
            Self::SmallRate => ("64 octets", "kpkt/s"),
            Self::PingIdle => ("ping", "ms"),
            Self::PingLoaded => ("under TCP", "ms"),
            Self::PingLoadedWorst => ("its p99", "ms"),
        }
    }

    /// The whole of it, as a plot says it.
    pub(crate) fn caption(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP, one stream (Mb/s)",
            Self::Tcp1Tool => "processor time of the tool, one TCP stream (s/GB)",
            Self::Tcp1Machine => "processor time of the whole machine, one TCP stream (s/GB)",
            Self::Tcp8 => "TCP, eight streams (Mb/s)",
            Self::Tcp8Tool => "processor time of the tool, eight TCP streams (s/GB)",
            Self::UdpRate => "UDP of 1,340 octets, highest rate under 1 % loss (Mb/s)",
            Self::SmallRate => "UDP of 64 octets, highest rate under 1 % loss (thousand packets/s)",
            Self::PingIdle => "ping, idle, mean (ms)",
            Self::PingLoaded => "ping under one TCP stream, mean (ms)",
            Self::PingLoadedWorst => "ping under one TCP stream, 99th percentile (ms)",
        }
    }
}
