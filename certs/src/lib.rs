//! Who may speak to whom: certificates, identities and TLS settings.
//!
//! # Trust
//!
//! A relay owns one [`authority::Authority`], a root key that it makes at its
//! first start. Everything else follows from that key:
//!
//! ```text
//!                 authority (Ed25519, 10 years, path length 0)
//!                  │ signs                    │ signs
//!     relay certificate                 device certificate
//!     DNS name, serverAuth              one spiffe:// URI, clientAuth
//!                  └────────── TLS 1.3 ───────┘
//! ```
//!
//! - A device makes its key where it runs and sends only a certificate
//!   request. The authority takes the public key out of the request and
//!   nothing else: the relay says who the device is.
//! - A device first meets its relay through a [`join_code::JoinCode`], which
//!   carries the [`pin::SpkiPin`] of the authority. No public authority and no
//!   trust on first use are involved.
//! - Each side accepts certificates of this one authority only, and only for
//!   their own purpose: a device cannot pose as the relay.
//! - The relay reads a device's identity out of its certificate
//!   ([`identity::Leaf`]), never out of a message.
//!
//! # TLS
//!
//! TLS 1.3 only, by AWS-LC, with hybrid post-quantum key agreement first.
//! There is no resumption and no early data: a resumed session skips the
//! certificate checks, and early data can be replayed (RFC 8446 §8).
//!
//! # What is where
//!
//! | module | purpose |
//! | --- | --- |
//! | [`authority`] | the root: create, load, sign device and relay certificates |
//! | [`client`] | the device's TLS settings, for the link and for joining |
//! | [`device`] | a device's key, certificate request and stored credentials |
//! | [`error`] | what can go wrong |
//! | [`identity`] | the name in a device certificate |
//! | [`join_code`] | the text that lets a new device join |
//! | [`pin`] | the fingerprint of an authority |
//! | [`private_file`] | files that only their owner may read |
//! | [`provider`] | the cryptography in use |
//! | [`server`] | the relay's TLS settings |
//! | [`web`] | TLS with the web's certificates: callers, upstreams, local HTTPS |
//!
//! Deliberately absent: revocation (the relay asks its registry on every
//! connection), opening sockets, and reading the clock: `now` is an argument.
//! The one exception is rustls, which reads the system clock in handshakes
//! unless the caller replaces `time_provider` in the settings returned here.
#![forbid(unsafe_code)]

pub mod authority;
pub mod client;
pub mod device;
pub mod error;
pub mod identity;
pub mod join_code;
pub mod pin;
pub mod private_file;
pub mod provider;
pub mod server;
pub mod web;

mod key;
mod pem;
mod x509;

/// The application protocol of a device's link (RFC 7301).
pub const ALPN_LINK: &[u8] = b"ginnel/1";

/// The application protocol by which a device without a certificate joins.
pub const ALPN_JOIN: &[u8] = b"ginnel-join/1";
