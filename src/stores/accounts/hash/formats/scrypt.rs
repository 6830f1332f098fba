//! scrypt (RFC 7914): PHC strings (`$scrypt$ln=16,r=8,p=1$salt$output`), those of `crypt` (`$7$CU..../....salt$output`), and Django's
//! (`scrypt$16384$salt$8$5$output`).

use super::{MAX_MEMORY, Stored, b64, c_string, crypt_digit, crypt64, has_memory, number, padded};
use crate::stores::accounts::LineError;
use base64ct::{Base64Unpadded, Encoding};
use scrypt::Params;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stores::accounts) struct Cost {
    log_n: u8,
    r: u32,
    p: u32,
    /// In bytes.
    output: usize,
}

/// `log2` of N. With less, the memory for `r` and `p` has no bound.
const LOG_N: core::ops::RangeInclusive<u8> = 10..=24;

/// Most `p`. OWASP has up to 10.
const MAX_P: u32 = 16;

/// Most N times r times p: some seconds. OWASP's settings have 1 Mi or less.
const MAX_WORK: usize = 8 << 20;

pub(super) fn is(text: &str) -> bool {
    ["$scrypt$", "$7$", "scrypt$"].iter().any(|front| text.starts_with(front))
}

impl Cost {
    fn new([log_n, r, p]: [Option<u32>; 3], output: usize) -> Option<Self> {
        let log_n = u8::try_from(log_n?).ok().filter(|log_n| LOG_N.contains(log_n))?;
        let cost = Self { log_n, r: r?, p: p?, output };
        let work = cost.memory()?.checked_div(128)?.checked_mul(usize::try_from(cost.p).ok()?)?;
        let is_affordable = cost.memory()? <= MAX_MEMORY && work <= MAX_WORK && cost.p <= MAX_P;
        (is_affordable && work > 0).then_some(cost)
    }

    /// In bytes.
    fn memory(&self) -> Option<usize> {
        1_usize.checked_shl(self.log_n.into())?.checked_mul(usize::try_from(self.r).ok()?)?.checked_mul(128)
    }

    pub(super) fn of(text: &str) -> Result<Self, LineError> {
        read(text).map(|(cost, _)| cost)
    }

    pub(super) fn example(&self) -> String {
        let Self { log_n, r, p, output } = self;
        let (salt, output) = (Base64Unpadded::encode_string(&[0; 16]), vec![0; *output]);
        format!("$scrypt$ln={log_n},r={r},p={p}${salt}${}", Base64Unpadded::encode_string(&output))
    }
}

fn read(text: &str) -> Result<(Cost, Stored), LineError> {
    let (stored, numbers) = if let Some(rest) = text.strip_prefix("$scrypt$") {
        phc(rest)?
    } else if let Some(rest) = text.strip_prefix("$7$") {
        crypt(rest)?
    } else {
        django(text)?
    };
    let cost = Cost::new(numbers, stored.output.len()).ok_or(LineError::Password)?;
    Ok((cost, stored))
}

/// What is stored, and `log2` of N, r and p.
type Read = (Stored, [Option<u32>; 3]);

fn phc(text: &str) -> Result<Read, LineError> {
    let mut fields = text.split('$');
    let (Some(params), Some(salt), Some(output), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(LineError::CutHash);
    };
    let mut params = params.split(',');
    let mut param = |name: &str| number(params.next()?.strip_prefix(name)?);
    let numbers = [param("ln="), param("r="), param("p=")];
    if params.next().is_some() {
        return Err(LineError::Password);
    }
    Ok((Stored::new(b64(salt), b64(output))?, numbers))
}

fn crypt(text: &str) -> Result<Read, LineError> {
    let (setting, output) = text.split_once('$').ok_or(LineError::CutHash)?;
    let (params, salt) = setting.as_bytes().split_at_checked(11).ok_or(LineError::CutHash)?;
    let value = |digits: Option<&[u8]>| {
        digits?.iter().rev().try_fold(0_u32, |value, &byte| value.checked_mul(64)?.checked_add(crypt_digit(byte)?))
    };
    let numbers = [value(params.get(..1)), value(params.get(1..6)), value(params.get(6..))];
    Ok((Stored::new(Some(salt.to_vec()), crypt64(output))?, numbers))
}

fn django(text: &str) -> Result<Read, LineError> {
    let fields: Vec<&str> = text.split('$').collect();
    let [_, n, salt, r, p, output] = fields.as_slice() else { return Err(LineError::CutHash) };
    let log_n = number(n).filter(|n| n.is_power_of_two()).map(u32::ilog2);
    Ok((Stored::new(Some(salt.as_bytes().to_vec()), padded(output))?, [log_n, number(r), number(p)]))
}

/// The memory is not wiped: the library keeps it to itself.
pub(super) fn verify(text: &str, password: &[u8]) -> Option<bool> {
    let (cost, stored) = read(text).ok()?;
    let params = Params::new(cost.log_n, cost.r, cost.p).ok().filter(|_| has_memory(cost.memory()))?;
    let (password, can_be) = if text.starts_with("$7$") { c_string(password) } else { (password, true) };
    let is = stored.is(|salt, output| scrypt::scrypt(password, salt, &params, output).ok())?;
    Some(is && can_be)
}
