//! Addresses, routes and interfaces, as the kernel reports them
//! (`rtnetlink(7)`).
//!
//! A message looks like this, all numbers in the machine's byte order:
//!
//! ```text
//! 0        4    6     8        12       16
//! │ length │type│flags│sequence│ sender │ ifinfomsg or ifaddrmsg │ attributes
//! ```
//!
//! Not every report is a change: routers make the kernel report the same IPv6
//! address again and again, and Wi-Fi reports each scan. [`Known`] tells them
//! apart.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::unix::AsyncFd;

/// Multicast groups (`linux/rtnetlink.h`): links, IPv4 addresses, IPv4 routes,
/// IPv6 addresses. An IPv6 route without a new address is of no interest.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100;

/// Larger than any one report.
const REPORT_MAX: usize = 32 * 1024;

/// Reports read in one go, so that a storm of them cannot hold the thread.
const REPORTS_MAX: usize = 64;

/// Most addresses and interfaces remembered; beyond, all are forgotten and
/// each is news once more.
const KNOWN_MAX: usize = 4096;

/// A socket on which the kernel reports.
#[derive(Debug)]
pub(in crate::platform) struct Addresses {
    socket: AsyncFd<OwnedFd>,
    known: Known,
}

impl Addresses {
    #[expect(
        deprecated,
        reason = "sound for an OwnedFd, and what replaces it is unsafe"
    )]
    pub(in crate::platform) fn start() -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // Protocol 0 is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self {
            socket: AsyncFd::new(socket)?,
            known: Known::default(),
        })
    }

    /// Waits for news. Cancel-safe: what is read is judged without waiting.
    pub(in crate::platform) async fn changed(&mut self) {
        let Self { socket, known } = self;
        loop {
            let Ok(mut ready) = socket.readable().await else {
                // The runtime shuts down.
                return std::future::pending().await;
            };
            if let Ok(Ok(true)) = ready.try_io(|socket| read_news(socket, known)) {
                return;
            }
        }
    }
}

/// Reads what waits on the socket and says whether any of it is news.
///
/// # Errors
/// `WouldBlock` if nothing waits.
fn read_news(socket: &AsyncFd<OwnedFd>, known: &mut Known) -> io::Result<bool> {
    let mut report = vec![0; REPORT_MAX];
    let mut news = false;
    for read in 0..REPORTS_MAX {
        match recv(socket, report.as_mut_slice(), RecvFlags::empty()) {
            Ok((_, length)) => news |= known.learn(report.get(..length).unwrap_or(&report)),
            // What was read already must not be lost.
            Err(Errno::AGAIN) if read > 0 => break,
            // More was reported than the socket holds.
            Err(Errno::NOBUFS) => news = true,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(news)
}

/// What was reported before.
#[derive(Debug, Default)]
struct Known {
    /// Interface to its flags.
    interfaces: BTreeMap<u32, u32>,
    /// Interface and address.
    addresses: BTreeSet<(u32, Vec<u8>)>,
}

impl Known {
    /// Takes in a datagram of messages and says whether any is news.
    fn learn(&mut self, mut datagram: &[u8]) -> bool {
        let mut news = false;
        while let Some((message, rest)) = next_message(datagram) {
            news |= self.learn_message(message).unwrap_or(false);
            datagram = rest;
        }
        if self.interfaces.len() + self.addresses.len() > KNOWN_MAX {
            *self = Self::default();
        }
        news
    }

    /// `None` if the message is too short for its type.
    fn learn_message(&mut self, message: &[u8]) -> Option<bool> {
        const NEW_LINK: u16 = 16;
        const DEL_LINK: u16 = 17;
        const NEW_ADDRESS: u16 = 20;
        const DEL_ADDRESS: u16 = 21;
        const NEW_ROUTE: u16 = 24;
        const DEL_ROUTE: u16 = 25;
        // struct ifinfomsg: family, padding, type, index, flags, change.
        // struct ifaddrmsg: family, prefix length, flags, scope, index.
        let index = |message| u32_at(message, 20);
        match u16_at(message, 4)? {
            NEW_LINK => {
                let flags = u32_at(message, 24)? & FLAGS;
                let before = self.interfaces.insert(index(message)?, flags);
                Some(before != Some(flags))
            }
            DEL_LINK => Some(self.interfaces.remove(&index(message)?).is_some()),
            NEW_ADDRESS => {
                let address = (index(message)?, find_address(message)?);
                Some(self.addresses.insert(address))
            }
            DEL_ADDRESS => {
                self.addresses
                    .remove(&(index(message)?, find_address(message)?));
                Some(true)
            }
            NEW_ROUTE | DEL_ROUTE => Some(true),
            _ => Some(false),
        }
    }
}

/// The flags of an interface that matter (`linux/if.h`): up, running, lower up.
const FLAGS: u32 = 0x1 | 0x40 | 0x1_0000;

/// Splits the first message off a datagram.
fn next_message(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    const HEADER: usize = 16;
    split_padded(
        datagram,
        usize::try_from(u32_at(datagram, 0)?).ok()?,
        HEADER,
    )
}

/// The value of the attribute IFA_ADDRESS.
fn find_address(message: &[u8]) -> Option<Vec<u8>> {
    const IFA_ADDRESS: u16 = 1;
    let mut attributes = message.get(24..)?;
    loop {
        // struct rtattr: length, type.
        let length = usize::from(u16_at(attributes, 0)?);
        let (attribute, rest) = split_padded(attributes, length, 4)?;
        if u16_at(attribute, 2)? == IFA_ADDRESS {
            return Some(attribute.get(4..)?.to_vec());
        }
        attributes = rest;
    }
}

/// Splits off `length` bytes, at least `header`, and the padding to four.
fn split_padded(bytes: &[u8], length: usize, header: usize) -> Option<(&[u8], &[u8])> {
    if length < header {
        return None;
    }
    let part = bytes.get(..length)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((part, rest))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*two))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*four))
}

#[cfg(test)]
#[path = "addresses/tests.rs"]
mod tests;
