//! Whatever decodes as a frame encodes to something that decodes to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntmobile_wire::frame::Frame;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::decode(bytes) {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
});
