//! The pcapng file format: one section, one description for each interface, one block for each packet.
//!
//! The bytes depend on what is written alone: no wall time, no host name, no version of anything.

use ntmobile_proto::time::{Instant, UnixTime};
use std::fmt;
use std::io::{self, BufWriter, Write};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Packets begin with their IP header, of whichever version.
const LINKTYPE_RAW: u16 = 101;

const END_OF_OPTIONS: u16 = 0;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;

/// Times count in units of 10⁻⁹ s.
const NANOSECONDS: u8 = 9;

/// A capture that is being written.
///
/// When the sink fails, the capture ends there; [`Capture::finish`] says so.
pub struct Capture {
    sink: BufWriter<Box<dyn Write + Send>>,
    /// Nanoseconds between the Unix epoch and the world's origin.
    epoch: u64,
    interfaces: u32,
    block: Vec<u8>,
    failure: Option<io::Error>,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("interfaces", &self.interfaces).field("failure", &self.failure).finish()
    }
}

impl Capture {
    /// Begins a capture in a world whose origin is at `epoch` on the wall.
    pub fn new(sink: Box<dyn Write + Send>, epoch: UnixTime) -> Self {
        let mut capture = Self {
            sink: BufWriter::new(sink),
            epoch: epoch.0.saturating_mul(1_000_000_000),
            interfaces: 0,
            block: Vec::new(),
            failure: None,
        };
        capture.begin(SECTION_HEADER);
        capture.block.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
        // Version 1.0; the section's length is not known yet.
        capture.block.extend_from_slice(&[1, 0, 0, 0]);
        capture.block.extend_from_slice(&u64::MAX.to_le_bytes());
        capture.option(SECTION_APPLICATION, b"NTMobile simulator");
        capture.option(END_OF_OPTIONS, &[]);
        capture.end();
        capture
    }

    /// Describes an interface; returns the number by which its packets name it.
    pub fn add_interface(&mut self, name: &str) -> u32 {
        self.begin(INTERFACE_DESCRIPTION);
        self.block.extend_from_slice(&LINKTYPE_RAW.to_le_bytes());
        // Two bytes reserved; no limit on the length of packets.
        self.block.extend_from_slice(&[0; 6]);
        self.option(INTERFACE_NAME, name.as_bytes());
        self.option(INTERFACE_RESOLUTION, &[NANOSECONDS]);
        self.option(END_OF_OPTIONS, &[]);
        self.end();
        self.interfaces += 1;
        self.interfaces - 1
    }

    /// Writes a packet that an interface took in or sent out; `encode` appends its bytes, `length` of them.
    pub fn packet(
        &mut self,
        interface: u32,
        at: Instant,
        is_inbound: bool,
        length: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let time = self.epoch.saturating_add(at.0);
        self.begin(ENHANCED_PACKET);
        let length = (length as u32).to_le_bytes();
        let fields = [interface.to_le_bytes(), ((time >> 32) as u32).to_le_bytes(), (time as u32).to_le_bytes()];
        for field in fields.into_iter().chain([length, length]) {
            self.block.extend_from_slice(&field);
        }
        encode(&mut self.block);
        self.pad();
        let direction: u32 = if is_inbound { 1 } else { 2 };
        self.option(PACKET_FLAGS, &direction.to_le_bytes());
        self.option(END_OF_OPTIONS, &[]);
        self.end();
    }

    /// Writes out what is still buffered; says whether the whole capture was written.
    pub fn finish(mut self) -> io::Result<()> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.sink.flush(),
        }
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.block.extend_from_slice(&kind.to_le_bytes());
        // The block's length, filled in at its end.
        self.block.extend_from_slice(&[0; 4]);
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.block.extend_from_slice(&code.to_le_bytes());
        self.block.extend_from_slice(&(value.len() as u16).to_le_bytes());
        self.block.extend_from_slice(value);
        self.pad();
    }

    fn end(&mut self) {
        let length = (self.block.len() as u32 + 4).to_le_bytes();
        self.block.extend_from_slice(&length);
        self.block[4..8].copy_from_slice(&length);
        if self.failure.is_none() {
            self.failure = self.sink.write_all(&self.block).err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A sink that can be read after the capture has taken it.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Type and body of each block.
    fn blocks(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let (mut blocks, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let length = u32_at(at + 4) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(u32_at(at + length - 4) as usize, length, "the length stands at both ends");
            blocks.push((u32_at(at), bytes[at + 8..at + length - 4].to_vec()));
            at += length;
        }
        blocks
    }

    #[test]
    fn a_capture_has_the_blocks_of_the_format() {
        let shared = Shared::default();
        let mut capture = Capture::new(Box::new(shared.clone()), UnixTime(1_893_456_000));
        assert_eq!(capture.add_interface("alice>home"), 0);
        assert_eq!(capture.add_interface("bob>home"), 1);
        capture.packet(1, Instant(1_500_000_001), true, 5, |out| out.extend_from_slice(b"ABCDE"));
        capture.finish().expect("memory does not fail");
        let bytes = shared.0.lock().expect("one thread").clone();
        let blocks = blocks(&bytes);
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE_DESCRIPTION, INTERFACE_DESCRIPTION, ENHANCED_PACKET]);
        let time: u64 = 1_893_456_001_500_000_001;
        let mut expected = Vec::new();
        for field in [1, (time >> 32) as u32, time as u32, 5, 5] {
            expected.extend_from_slice(&field.to_le_bytes());
        }
        expected.extend_from_slice(b"ABCDE\0\0\0");
        expected.extend_from_slice(&[2, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(blocks[3].1, expected);
        assert!(blocks[1].1.windows(10).any(|window| window == b"alice>home"));
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        let mut capture = Capture::new(Box::new(Full), UnixTime(1));
        for _ in 0..1_000 {
            capture.packet(0, Instant(0), false, 100, |out| out.extend_from_slice(&[0; 100]));
        }
        assert_eq!(capture.finish().map_err(|failure| failure.kind()), Err(io::ErrorKind::StorageFull));
    }
}
