//! Who may take part: login, key distribution, initial data, authentication, Key Sharing. All inside TLS.

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, numbered, positional};
use crate::identifier::{ApplicationId, KeyId, Session};
use crate::key::{NamedKey, PublicKey, SecretBytes, SecretText};
use crate::name::{Account, Fqdn};

/// What a caller proves itself with at a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A password, inside TLS.
    Password(SecretText),
    /// Nothing more: the client certificate of the TLS connection is the proof.
    Certificate,
    /// The key of an earlier login that has not expired: `proof` is a MAC under it (re-login of `via-dc`).
    CurrentKey {
        /// The key that is proved.
        key_id: KeyId,
        /// HMAC-SHA256 under the re-login subkey over the account and the sender's session.
        proof: [u8; 32],
    },
}

/// The AS's signed statement that a public key belongs to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVoucher {
    /// The node.
    pub node: Fqdn,
    /// Its X25519 key for the `public-key` agreement.
    pub public_key: PublicKey,
    /// Seconds since the Unix epoch after which the voucher is void.
    pub not_after: u64,
    /// Ed25519 signature by the AS's voucher key over the three fields above.
    pub signature: [u8; 64],
}

positional!(KeyVoucher { node, public_key, not_after, signature });

/// *Login Request*: node → AS (`via-as`) or node → DC (`via-dc`), TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// Who logs in.
    pub account: Account,
    /// The proof.
    pub credential: Credential,
    /// The application that logs in.
    pub application: ApplicationId,
    /// The node's key for the `public-key` agreement.
    pub public_key: PublicKey,
}

positional!(LoginRequest { account, credential, application, public_key });

/// *Login Response*: what a node holds after a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginResponse {
    /// The node's name.
    pub node: Fqdn,
    /// K_ntmdc.
    pub key: NamedKey,
    /// How long K_ntmdc lives, in seconds.
    pub lifetime_s: u32,
    /// The session of the node's DC, so that its first message needs no challenge.
    pub dc_session: Session,
    /// The token for the Cache Server, opaque to the node; at most 256 bytes, empty when there is none.
    pub cs_token: SecretBytes,
    /// The AS's statement about the node's public key.
    pub voucher: KeyVoucher,
    /// The Ed25519 key that verifies every voucher of the network.
    pub voucher_key: [u8; 32],
}

positional!(LoginResponse { node, key, lifetime_s, dc_session, cs_token, voucher, voucher_key });

/// *Key Distribution*: AS → DC, mutual TLS (`via-as`); answered by *NTM ACK*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDistribution {
    /// The node that logged in.
    pub node: Fqdn,
    /// The application that logged in.
    pub application: ApplicationId,
    /// K_ntmdc.
    pub key: NamedKey,
    /// How long it lives, in seconds.
    pub lifetime_s: u32,
    /// The node's session.
    pub node_session: Session,
    /// The token that the DC hands on at a re-login.
    pub cs_token: SecretBytes,
}

positional!(KeyDistribution { node, application, key, lifetime_s, node_session, cs_token });

/// *Initial Data Request*: a new node asks the AS once for its DC (`via-dc`), TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialDataRequest {
    /// Who asks.
    pub account: Account,
    /// The proof; names of accounts are not given away.
    pub credential: Credential,
}

positional!(InitialDataRequest { account, credential });

/// *Initial Data Response*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialDataResponse {
    /// The node's name.
    pub node: Fqdn,
    /// The domain whose NS record leads to the node's DC.
    pub domain: Fqdn,
}

positional!(InitialDataResponse { node, domain });

/// *Authentication Request*: DC → AS, mutual TLS (`via-dc`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationRequest {
    /// The login to be decided.
    pub login: LoginRequest,
    /// The fingerprint (SHA-256) of the client certificate that the node showed to the DC, if it showed one.
    pub certificate: Option<[u8; 32]>,
}

positional!(AuthenticationRequest { login, certificate });

/// *Authentication Response*: the AS vouches for the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationResponse {
    /// The node's name.
    pub node: Fqdn,
    /// See [`LoginResponse::cs_token`].
    pub cs_token: SecretBytes,
    /// See [`LoginResponse::voucher`].
    pub voucher: KeyVoucher,
    /// See [`LoginResponse::voucher_key`].
    pub voucher_key: [u8; 32],
}

positional!(AuthenticationResponse { node, cs_token, voucher, voucher_key });

/// *Key Sharing*: first contact between two servers, mutual TLS; the requester makes the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySharingRequest {
    /// Which key of the table it is.
    pub purpose: SharedKeyPurpose,
    /// The requester's name, which its certificate must bear.
    pub requester: Fqdn,
    /// The key.
    pub key: NamedKey,
    /// How long it lives, in seconds.
    pub lifetime_s: u32,
}

positional!(KeySharingRequest { purpose, requester, key, lifetime_s });

/// The answer to *Key Sharing*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySharingResponse {
    /// The answering server's name.
    pub server: Fqdn,
}

positional!(KeySharingResponse { server });

/// Which server-to-server key is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedKeyPurpose {
    /// K_dcdc.
    DcDc,
    /// K_dcrs.
    DcRs,
    /// K_dcns.
    DcNs,
    /// A purpose this version does not know.
    Unknown(u8),
}

numbered!(SharedKeyPurpose { 1 DcDc, 2 DcRs, 3 DcNs });

impl Encode for Credential {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Password(password) => {
                writer.put(&[1]);
                writer.write(password);
            }
            Self::Certificate => writer.put(&[2]),
            Self::CurrentKey { key_id, proof } => {
                writer.put(&[3]);
                writer.write(key_id);
                writer.write(proof);
            }
        }
    }
}

impl Decode for Credential {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.read()? {
            1 => reader.read().map(Self::Password),
            2 => Ok(Self::Certificate),
            3 => Ok(Self::CurrentKey { key_id: reader.read()?, proof: reader.read()? }),
            number => Err(DecodeError::UnknownVariant { what: "a credential", number }),
        }
    }
}
