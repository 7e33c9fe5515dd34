//! The internet checksum, in the machine's byte order (which does not matter to a one's complement sum: RFC 1071), and the
//! copy that computes it on the way.

/// Octets that one step of the loop takes; a width that compilers turn into vector instructions.
const STEP: usize = 32;
const LANES: usize = STEP / 4;

/// Adds the carries back in.
pub(crate) fn fold(mut sum: u64) -> u16 {
    sum = (sum >> 32) + (sum & 0xffff_ffff);
    sum = (sum >> 32) + (sum & 0xffff_ffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// Adds octets to a sum, the last one padded with zero.
pub(crate) fn add_bytes(sum: u64, bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was just seen to have AVX2.
        return unsafe { add_with_avx2(sum, bytes) };
    }
    add_in_lanes(sum, bytes)
}

/// Copies `from` to `to`, which has the same length, and adds the octets to a sum.
pub(super) fn copy_and_add(sum: u64, to: &mut [u8], from: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was just seen to have AVX2.
        return unsafe { copy_with_avx2(sum, to, from) };
    }
    copy_in_lanes(sum, to, from)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_with_avx2(sum: u64, bytes: &[u8]) -> u64 {
    add_in_lanes(sum, bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_with_avx2(sum: u64, to: &mut [u8], from: &[u8]) -> u64 {
    copy_in_lanes(sum, to, from)
}

#[inline(always)]
fn add_in_lanes(sum: u64, bytes: &[u8]) -> u64 {
    let mut lanes = [0u64; LANES];
    let (steps, rest) = bytes.as_chunks::<STEP>();
    for step in steps {
        add_step(&mut lanes, step);
    }
    add_rest(sum, rest) + lanes.iter().sum::<u64>()
}

#[inline(always)]
fn copy_in_lanes(sum: u64, to: &mut [u8], from: &[u8]) -> u64 {
    let mut lanes = [0u64; LANES];
    let (steps, rest) = from.as_chunks::<STEP>();
    let (places, last) = to.as_chunks_mut::<STEP>();
    for (place, step) in places.iter_mut().zip(steps) {
        *place = *step;
        add_step(&mut lanes, step);
    }
    last.copy_from_slice(rest);
    add_rest(sum, rest) + lanes.iter().sum::<u64>()
}

#[inline(always)]
fn add_step(lanes: &mut [u64; LANES], step: &[u8; STEP]) {
    let (words, _) = step.as_chunks::<4>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane += u64::from(u32::from_ne_bytes(*word));
    }
}

#[inline(always)]
fn add_rest(mut sum: u64, rest: &[u8]) -> u64 {
    let (words, last) = rest.as_chunks::<4>();
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    let mut padded = [0; 4];
    padded[..last.len()].copy_from_slice(last);
    sum + u64::from(u32::from_ne_bytes(padded))
}
