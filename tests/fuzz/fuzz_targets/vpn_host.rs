//! Whatever a node without privilege or its host program says, the other end refuses it or understands it; and what is understood can be
//! said again and is understood the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntmobile_net::vpn_host::{EngineMessage, HostMessage};

fuzz_target!(|bytes: &[u8]| {
    // Written again, a message may be too long: a control character takes six octets where it took two.
    if let Ok(message) = HostMessage::decode(bytes)
        && let Ok(again) = message.encode()
    {
        assert_eq!(HostMessage::decode(&again).expect("it was understood before"), message);
    }
    if let Ok(message) = EngineMessage::decode(bytes)
        && let Ok(again) = message.encode()
    {
        assert_eq!(EngineMessage::decode(&again).expect("it was understood before"), message);
    }
});
