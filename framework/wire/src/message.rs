//! Every message of the protocol as a value, with the order and the numbers it is encoded by. Who sends it, and under which
//! key, is said at each.

mod direction;
mod login;
mod refusal;
mod registration;
mod tunnel;

pub use direction::{
    CipherSuite, DirectionReason, DirectionRequest, KeyAgreement, NodeInformation, NodeInformationRequest,
    NodeInformationResponse, PublicKeyOffer, RelayHandshake, Route, RouteDirection, RouteDirectionAcknowledge,
    RouteDirectionRequest, RouteDirectionResponse, TunnelAction, TunnelEnd, TunnelProtection,
};
pub use login::{
    AuthenticationRequest, AuthenticationResponse, Credential, InitialDataRequest, InitialDataResponse,
    KeyDistribution, KeySharingRequest, KeySharingResponse, KeyVoucher, LoginRequest, LoginResponse, SharedKeyPurpose,
};
pub use refusal::{Refusal, RefusalCode};
pub use registration::{
    Keepalive, Notification, NotificationAssignment, NotificationDirection, NotificationRegistration, NtmAck,
    Reachability, RegistrationRequest, RegistrationResponse,
};
pub use tunnel::{
    Close, HolePunching, RekeyRequest, RekeyResponse, RelayAssignment, RelayDirection, RelayResponse, SessionChallenge,
    SessionEcho, SourceUnknown, TunnelProbe, TunnelRequest, TunnelResponse,
};

use crate::codec::{DecodeError, Reader, Writer};

macro_rules! messages {
    ($($(#[$doc:meta])* $number:literal $name:ident $label:literal,)*) => {
        /// Every message, by type.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Message {
            $($(#[$doc])* $name($name),)*
        }

        impl Message {
            /// Type number on the wire.
            pub fn kind(&self) -> u8 {
                match self { $(Self::$name(_) => $number,)* }
            }

            /// The message's name in the papers; also its span's name.
            pub fn label(&self) -> &'static str {
                match self { $(Self::$name(_) => $label,)* }
            }

            /// Writes the message's fixed fields.
            pub(crate) fn encode_fields(&self, writer: &mut Writer) {
                match self { $(Self::$name(message) => writer.write(message),)* }
            }

            /// Reads the fixed fields of the message of type `kind`.
            pub(crate) fn decode_fields(kind: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                match kind {
                    $($number => reader.read().map(Self::$name),)*
                    unknown => Err(DecodeError::UnknownKind(unknown)),
                }
            }
        }

        $(impl From<$name> for Message {
            fn from(message: $name) -> Self { Self::$name(message) }
        })*
    };
}

messages! {
    /// TLS.
    1 LoginRequest "Login Request",
    /// TLS.
    2 LoginResponse "Login Response",
    /// TLS.
    3 KeyDistribution "Key Distribution",
    /// TLS.
    4 InitialDataRequest "Initial Data Request",
    /// TLS.
    5 InitialDataResponse "Initial Data Response",
    /// TLS.
    6 AuthenticationRequest "Authentication Request",
    /// TLS.
    7 AuthenticationResponse "Authentication Response",
    /// TLS.
    8 KeySharingRequest "Key Sharing Request",
    /// TLS.
    9 KeySharingResponse "Key Sharing Response",
    /// Everywhere.
    16 NtmAck "NTM ACK",
    /// Everywhere.
    17 Refusal "Refusal",
    /// Under any named key.
    18 SessionChallenge "Session Challenge",
    /// Under any named key.
    19 SessionEcho "Session Echo",
    /// K_ntmdc.
    32 RegistrationRequest "Registration Request",
    /// K_ntmdc.
    33 RegistrationResponse "Registration Response",
    /// K_ntmdc, K_ntmns.
    34 Keepalive "Keepalive",
    /// K_dcns.
    35 NotificationDirection "Notification Direction",
    /// K_ntmns.
    36 NotificationRegistration "Notification Registration",
    /// K_dcns, K_ntmns.
    37 Notification "Notification",
    /// K_ntmdc.
    48 DirectionRequest "Direction Request",
    /// K_dcdc.
    49 NodeInformationRequest "Node Information Request",
    /// K_dcdc.
    50 NodeInformationResponse "Node Information Response",
    /// K_dcdc, K_ntmdc.
    51 RouteDirection "Route Direction",
    /// K_ntmdc, K_dcdc.
    52 RouteDirectionAcknowledge "Route Direction Acknowledge",
    /// K_ntmdc.
    53 RouteDirectionRequest "Route Direction Request",
    /// K_ntmdc.
    54 RouteDirectionResponse "Route Direction Response",
    /// K_dcrs, K_dcdc.
    55 RelayDirection "Relay Direction",
    /// K_dcrs.
    56 RelayResponse "Relay Response",
    /// K_dcdc.
    57 RelayAssignment "Relay Assignment",
    /// K_tun.
    64 HolePunching "Hole Punching",
    /// K_tun, K_tmp.
    65 TunnelRequest "Tunnel Request",
    /// K_mncn, K_tun.
    66 TunnelResponse "Tunnel Response",
    /// Unsealed.
    67 SourceUnknown "Source Unknown",
    /// Inside the tunnel.
    80 RekeyRequest "Rekey Request",
    /// Inside the tunnel.
    81 RekeyResponse "Rekey Response",
    /// Inside the tunnel.
    82 Close "Close",
    /// Inside the tunnel.
    83 TunnelProbe "Tunnel Probe",
}
