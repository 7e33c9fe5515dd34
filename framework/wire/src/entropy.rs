//! Randomness as an argument: whoever runs a machine decides where chance comes from.

/// A source of unpredictable bytes: the operating system's on a host, the run's seeded generator in the simulator.
pub trait Entropy {
    /// Fills the whole buffer.
    fn fill(&mut self, bytes: &mut [u8]);

    /// Draws an array of `N` bytes.
    fn array<const N: usize>(&mut self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// Draws `N` bytes from a generator behind a reference, where [`Entropy::array`] cannot be called.
pub fn draw<const N: usize>(entropy: &mut dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}
