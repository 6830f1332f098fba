//! What reads what others wrote, as the fuzz targets call it: the file of `serve --config`, the PROXY header of a balancer, and the files of
//! `user import`.

use crate::failure::Failure;
use crate::serve;
pub use crate::users::imported;
use std::net::SocketAddr;
use std::path::Path;

/// Reads the configuration of a server, and gives all that is in force with it, as such a file.
///
/// # Errors
/// What the user is told.
pub fn config(file: &Path) -> Result<String, String> {
    serve::in_force(file).map_err(told)
}

/// What a PROXY header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The client.
    pub peer: SocketAddr,
    /// What the client connected to.
    pub local: SocketAddr,
    /// Whether the balancer only looks whether anybody is there.
    pub is_check: bool,
    /// How many bytes were left behind the header.
    pub rest: usize,
}

/// Reads a PROXY header from a balancer on the connection with these ends.
///
/// # Errors
/// What the log says.
pub fn proxy_header(bytes: &[u8], peer: SocketAddr, local: SocketAddr) -> Result<Proxied, String> {
    serve::proxied(bytes, peer, local)
}

pub(crate) fn told(failure: Failure) -> String {
    failure.message().unwrap_or_default().to_owned()
}
