//! Key files: read from wherever they are, without waiting for ever, and with the way to mend what is wrong with them.

use super::files::access::check_mode;
use super::files::{FileError, io_error};
use crate::crypto::{
    KeyFile, KeyFileError, MAX_KEY_FILE, PrivateKey, PublicSource, SecretBytes, SigningKey, VerifyingKey,
};
#[cfg(feature = "key-formats")]
use crate::terms::authorized_key::{AuthorizedKey, AuthorizedKeysError};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a pipe or a device may take to open: a named pipe that nobody writes to never does.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long everything that comes of it may take: somebody may be typing a passphrase at its other end.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// Reads what a key file holds: from a file, or from a pipe such as that of `<(command)`. Where it holds a private key, others
/// must not be able to read it.
///
/// Blocks; where nobody writes to a pipe, for three seconds.
///
/// # Errors
/// [`FileError`].
pub fn read_key_file(path: impl AsRef<Path>) -> Result<KeyFile, FileError> {
    let path = path.as_ref();
    let (keys, file) = read(path)?;
    // After it was read, so that a public key by mistake is called that, and not badly kept.
    if let Some(file) = file.filter(|_| keys.has_private_key()) {
        check_mode(&file, path)?;
    }
    Ok(keys)
}

/// Reads a private key that is not encrypted and that others can't read. For an encrypted one, see [`read_key_file`].
///
/// # Errors
/// [`FileError`].
pub fn read_private_key(path: impl AsRef<Path>) -> Result<PrivateKey, FileError> {
    let path = path.as_ref();
    read_key_file(path)?.private_key(None).map_err(key_error(path))
}

/// Reads all public keys of a file, for any of them to be trusted, as for a rotation; at least one.
///
/// # Errors
/// [`FileError`].
pub fn read_public_keys(path: impl AsRef<Path>) -> Result<Vec<PublicSource>, FileError> {
    let path = path.as_ref();
    read(path)?.0.public_keys().map_err(key_error(path))
}

/// Reads a private key that signs, is not encrypted, and that others can't read. For an encrypted one, see [`read_key_file`] and
/// [`KeyFile::signing_key`].
///
/// # Errors
/// [`FileError`].
pub fn read_signing_key(path: impl AsRef<Path>) -> Result<SigningKey, FileError> {
    let path = path.as_ref();
    read_key_file(path)?.signing_key(None).map_err(key_error(path))
}

/// Reads all public keys of a file that verify signatures; at least one.
///
/// # Errors
/// [`FileError`].
pub fn read_verifying_keys(path: impl AsRef<Path>) -> Result<Vec<PublicSource<VerifyingKey>>, FileError> {
    let path = path.as_ref();
    read(path)?.0.verifying_keys().map_err(key_error(path))
}

/// Reads the public keys of clients, as [`AuthorizedKey::read`] does.
///
/// # Errors
/// [`FileError`].
#[cfg(feature = "key-formats")]
pub fn read_authorized_keys(path: impl AsRef<Path>) -> Result<Vec<AuthorizedKey>, FileError> {
    let path = path.as_ref();
    AuthorizedKey::read(&read_bytes(path)?.0).map_err(|error| match error {
        AuthorizedKeysError::File(source) => key_error(path)(source),
        source => FileError::AuthorizedKeys { path: path.to_owned(), source },
    })
}

/// Reads a secret, such as a passphrase: the first line of a file that others can't read, without its line ending, or of a pipe.
///
/// # Errors
/// [`FileError`].
pub fn read_secret(path: impl AsRef<Path>) -> Result<SecretBytes, FileError> {
    let path = path.as_ref();
    let (mut bytes, file) = read_bytes(path)?;
    if let Some(file) = file {
        check_mode(&file, path)?;
    }
    let len = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    bytes.truncate(len);
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(SecretBytes::new(bytes))
}

fn key_error(path: &Path) -> impl FnOnce(KeyFileError) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Key { path, source }
}

/// The keys in it, and where it is a file, that.
fn read(path: &Path) -> Result<(KeyFile, Option<File>), FileError> {
    let (bytes, file) = read_bytes(path)?;
    Ok((KeyFile::parse(&bytes).map_err(key_error(path))?, file))
}

pub(super) fn read_bytes(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Option<File>), FileError> {
    let kind = fs::metadata(path).map_err(io_error(path))?.file_type();
    if let Some(what) = no_stream(kind) {
        return Err(FileError::NotFile { path: path.to_owned(), what });
    }
    if !kind.is_file() {
        return Ok((read_in_time(path)?, None));
    }
    let mut file = File::open(path).map_err(io_error(path))?;
    Ok((read_all(&mut file).map_err(io_error(path))?, Some(file)))
}

/// Into one buffer that never grows: that would leave copies of a key in freed memory.
fn read_all(file: &mut File) -> io::Result<Zeroizing<Vec<u8>>> {
    const ROOM: usize = 16 * 1024;
    let meta = file.metadata()?;
    // A pipe has no length.
    let len = if meta.is_file() { usize::try_from(meta.len()).unwrap_or(usize::MAX).max(ROOM) } else { MAX_KEY_FILE };
    // One byte more, in which to see that nothing follows.
    let len = len.min(MAX_KEY_FILE).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(len));
    file.take(u64::try_from(len).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// In a thread of its own, which is left behind where nothing comes.
fn read_in_time(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (tell, told) = mpsc::channel();
    let owned = path.to_owned();
    let reader = move || {
        let opened = File::open(owned);
        let failed = opened.as_ref().err().map(|error| io::Error::from(error.kind()));
        let _ = tell.send(failed.map_or(Ok(None), Err));
        if let Ok(mut file) = opened {
            let _ = tell.send(read_all(&mut file).map(Some));
        }
    };
    thread::Builder::new().spawn(reader).map_err(io_error(path))?;
    for timeout in [OPEN_TIMEOUT, READ_TIMEOUT] {
        match told.recv_timeout(timeout) {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(bytes))) => return Ok(bytes),
            Ok(Err(error)) => return Err(io_error(path)(error)),
            Err(_) => break,
        }
    }
    Err(FileError::Silent { path: path.to_owned() })
}

/// What it is, where nothing can be read from it.
fn no_stream(kind: fs::FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_socket() {
            return Some("a socket");
        }
        if kind.is_block_device() {
            return Some("a disk");
        }
    }
    kind.is_dir().then_some("a directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_waited_for_as_long_as_is_documented() {
        assert_eq!((OPEN_TIMEOUT, READ_TIMEOUT), (Duration::from_secs(3), Duration::from_secs(120)));
    }
}
