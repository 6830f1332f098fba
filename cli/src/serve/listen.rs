//! Where a server listens: at an address of its own, or on a socket that systemd hands over; and how it says that it does.

use crate::failure::Failure;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{TcpListener, ToSocketAddrs};

/// In the place of an address.
const SYSTEMD: &str = "systemd";

/// `ADDRESS:PORT`, or what stands in the place of one.
pub(super) fn address(text: &str) -> Result<String, String> {
    let is_one = text == SYSTEMD || port(text).is_some();
    if is_one { Ok(text.to_owned()) } else { Err("write it as ADDRESS:PORT, such as 127.0.0.1:4500".to_owned()) }
}

/// `HOST:PORT` of what can be connected to.
pub(super) fn target(text: &str) -> Result<String, String> {
    let is_one = port(text).is_some_and(|port| port > 0);
    if is_one { Ok(text.to_owned()) } else { Err("write it as HOST:PORT, such as localhost:5432".to_owned()) }
}

fn port(text: &str) -> Option<u16> {
    let (host, port) = text.rsplit_once(':')?;
    port.parse().ok().filter(|_| !host.is_empty())
}

/// Listens at `HOST:PORT`, or on the one socket that systemd hands over, as this flag says.
pub(super) fn listen(flag: &str, address: &str) -> Result<TcpListener, Failure> {
    if address == SYSTEMD {
        return handed_over();
    }
    bind(address).map_err(|error| {
        Failure::new(format_args!("cannot listen on {address}: {error}"))
            .and(format_args!("pick another {flag} address"))
    })
}

/// Whether it is an address of this machine, as far as names go.
pub(super) fn check(flag: &str, address: &str) -> Result<(), Failure> {
    if address == SYSTEMD {
        return Ok(());
    }
    let found = address.to_socket_addrs().map(drop);
    found.map_err(|error| Failure::new(format_args!("{flag} {address}: {error}")))
}

/// As [`TcpListener::bind`], with room for more connections that are not accepted yet than its 128: past them the kernel
/// drops a newcomer's first packet, and a client comes again only after a second.
fn bind(address: &str) -> io::Result<TcpListener> {
    const BACKLOG: i32 = 4096;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        let bound = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            // As `TcpListener::bind` does: a restart need not wait for old connections to time out.
            #[cfg(unix)]
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        match bound() {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(unix)]
fn handed_over() -> Result<TcpListener, Failure> {
    let mut sockets = listenfd::ListenFd::from_env();
    let bad = |what: &dyn std::fmt::Display| {
        Failure::usage(format_args!(
            "--listen systemd: {what}; start this from a service unit beside a socket unit with one ListenStream="
        ))
    };
    match sockets.len() {
        1 => {}
        0 => return Err(bad(&"no socket was handed over")),
        more => return Err(bad(&format_args!("{more} sockets were handed over"))),
    }
    let listener = sockets.take_tcp_listener(0).map_err(|error| bad(&error))?;
    let listener = listener.ok_or_else(|| bad(&"no socket was handed over"))?;
    if !socket2::SockRef::from(&listener).is_listener().unwrap_or(true) {
        return Err(bad(&"a connection was handed over, and no socket that listens (Accept=no)"));
    }
    listener.set_nonblocking(true).map_err(|error| bad(&error))?;
    Ok(listener)
}

#[cfg(not(unix))]
fn handed_over() -> Result<TcpListener, Failure> {
    Err(Failure::usage("--listen systemd: there is no systemd on this system; give ADDRESS:PORT"))
}

/// What a service manager is told, where there is one.
pub(super) enum State<'a> {
    Ready,
    /// What is read again is not taken yet. [`State::Ready`] follows.
    Reloading,
    Stopping,
    /// In words, for people.
    Status(&'a str),
}

pub(super) fn tell(state: &State<'_>) {
    #[cfg(unix)]
    {
        use sd_notify::NotifyState;
        let told = match state {
            State::Ready => vec![NotifyState::Ready],
            // Without the time a manager of `Type=notify-reload` takes it for an older one.
            State::Reloading => NotifyState::monotonic_usec_now()
                .map_or_else(|_| vec![NotifyState::Reloading], |now| vec![NotifyState::Reloading, now]),
            State::Stopping => vec![NotifyState::Stopping],
            State::Status(text) => vec![NotifyState::Status(text)],
        };
        // If it can't be told, it finds out by itself.
        let _ = sd_notify::notify(&told);
    }
    #[cfg(not(unix))]
    let _ = state;
}
