//! Valgrind's memcheck, told which bytes are secret: it takes them for uninitialised, follows what is computed from them, and reports whatever branches
//! on that, or addresses memory by it. (Langley's ctgrind; SUPERCOP's TIMECOP.)

#![allow(unsafe_code, reason = "what is said to valgrind is said in instructions")]
#![allow(dead_code, unreachable_pub, reason = "each bench uses its part of this module")]

use core::arch::asm;
use core::mem::size_of_val;
use std::process::Command;

/// A client request of valgrind's: a sequence of instructions that does nothing, and that valgrind knows (valgrind.h, `amd64-linux`; it is a part of
/// its binary interface). Elsewhere than under valgrind it gives 0. Bindings to the C macros need libclang and valgrind's headers to build.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn request(number: usize, arguments: [usize; 3]) -> usize {
    let [first, second, third] = arguments;
    let block: [usize; 6] = [number, first, second, third, 0, 0];
    let mut answer = 0;
    // SAFETY: the rotations add up to none, and the exchange is of a register with itself. Of memory, valgrind writes to what a request names
    // for that: `is_hidden` names an array of its own.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") &raw const block,
            inout("rdx") answer,
            options(nostack)
        );
    }
    answer
}

#[cfg(not(target_arch = "x86_64"))]
fn request(_: usize, _: [usize; 3]) -> usize {
    0
}

const RUNNING_ON_VALGRIND: usize = 0x1001;
const CHANGE_ERR_DISABLEMENT: usize = 0x1801;
const MEMCHECK: usize = (b'M' as usize) << 24 | (b'C' as usize) << 16;
const MAKE_MEM_UNDEFINED: usize = MEMCHECK + 1;
const MAKE_MEM_DEFINED: usize = MEMCHECK + 2;
const GET_VBITS: usize = MEMCHECK + 8;

pub fn is_running() -> bool {
    request(RUNNING_ON_VALGRIND, [0; 3]) > 0
}

/// From now on these bytes are secret.
pub fn hide<T: ?Sized>(secret: &mut T) {
    mark(MAKE_MEM_UNDEFINED, secret);
}

/// And now they are not: everybody may see them.
pub fn show<T: ?Sized>(public: &mut T) {
    mark(MAKE_MEM_DEFINED, public);
}

fn mark<T: ?Sized>(request_number: usize, bytes: &mut T) {
    let len = size_of_val(bytes);
    request(request_number, [(&raw mut *bytes).expose_provenance(), len, 0]);
}

/// Whether any of them is computed from what is secret. Where nobody looks (without valgrind), yes.
pub fn is_hidden(bytes: &[u8]) -> bool {
    let mut bits = vec![0_u8; bytes.len()];
    let known =
        request(GET_VBITS, [bytes.as_ptr().expose_provenance(), bits.as_mut_ptr().expose_provenance(), bytes.len()]);
    known != 1 || bits.iter().any(|&bits| bits != 0)
}

/// Does something of which nothing is to be reported: to make what a secret is in, say.
pub fn unreported<R>(work: impl FnOnce() -> R) -> R {
    request(CHANGE_ERR_DISABLEMENT, [1, 0, 0]);
    let done = work();
    request(CHANGE_ERR_DISABLEMENT, [usize::MAX, 0, 0]);
    done
}

/// Something that memcheck reports: where, as [`Site::name`] has it, and all that it says.
pub struct Report {
    pub site: String,
    pub text: String,
}

/// Exit code of a run in which something was reported.
const REPORTED: i32 = 99;

/// What memcheck reports of a run of this program with these arguments.
pub fn check(args: &[&str]) -> Vec<Report> {
    let run = Command::new("valgrind")
        // Whole paths, since names of functions alone are those that were not inlined.
        .args(["--tool=memcheck", "--num-callers=40", "--read-inline-info=yes", "--fullpath-after="])
        .args(["--leak-check=no", &format!("--error-exitcode={REPORTED}")])
        .arg(std::env::current_exe().unwrap())
        .args(args)
        .output()
        .expect("valgrind, from the package of that name");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(matches!(run.status.code(), Some(0 | REPORTED)), "{args:?}: {said}");
    // After so many it would take different ones for the same.
    assert!(!said.contains("More than 100 errors detected"), "{args:?}: {said}");
    reports(&said)
}

fn reports(said: &str) -> Vec<Report> {
    let lines: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("==")?.split_once("==")).map(|(_, line)| line).collect();
    let is_frame = |line: &&str| line.starts_with("    at ") || line.starts_with("    by ");
    let firsts = (0..lines.len()).filter(|&at| lines[at].starts_with("    at "));
    firsts
        .map(|first| {
            let frames: Vec<&str> = lines[first..].iter().copied().take_while(is_frame).collect();
            Report { site: site(&frames), text: lines[first - 1..first + frames.len()].join("\n") }
        })
        .collect()
}

/// Who answers for it: the first on the stack that is not the standard library or something like it, which does what it is called for. A file and a function
/// of this package, or a crate and a function; and `compares` where what was called is the comparison of slices, which stops where they differ.
fn site(frames: &[&str]) -> String {
    let mut compares = false;
    let named = frames.iter().find_map(|frame| {
        let (_, frame) = frame.split_once(": ")?;
        let (function, place) = frame.rsplit_once(" (")?;
        let place = place.strip_suffix(')')?;
        compares |= ["bcmp", "memcmp", "slice/cmp.rs", "array/equality.rs"].iter().any(|name| frame.contains(name));
        match place.strip_prefix("in ") {
            Some(object) if object.contains("vgpreload") => None,
            Some(_) => of_symbol(function),
            None => of_line(function, place),
        }
    });
    let named = named.unwrap_or_else(|| "nobody knows".to_owned());
    if compares { format!("{named} compares") } else { named }
}

/// By the place in the source.
fn of_line(function: &str, place: &str) -> Option<String> {
    let (path, line) = place.rsplit_once(':')?;
    let function = enclosing(path, line.parse().ok()?).unwrap_or_else(|| function.to_owned());
    if let Some(ours) = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/")) {
        return Some(format!("{ours} {function}"));
    }
    let krate = path.split_once("/registry/src/")?.1.split('/').nth(1)?.rsplit_once('-')?.0;
    named(krate, &function)
}

/// By the name of a symbol, where there are no lines.
fn of_symbol(symbol: &str) -> Option<String> {
    let Some((front, function)) = symbol.rsplit_once("::") else {
        // In C, with its version in front.
        let is_version = |c: char| c.is_ascii_digit() || c == '_';
        return named("aws-lc", symbol.trim_start_matches("aws_lc").trim_start_matches(is_version));
    };
    // The first path in it: `<&mut [argon2::block::Block] as ...>`, `<T as base64ct::encoding::Encoding>`.
    let end = front.find("::").unwrap_or(front.len());
    let start = front[..end].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |before| before + 1);
    let krate = &front[start..end];
    named(&krate.replace('_', "-"), function)
}

fn named(krate: &str, function: &str) -> Option<String> {
    let is_like_std = ["core", "alloc", "std", "hashbrown", "subtle", "zeroize"].contains(&krate);
    (!is_like_std).then(|| format!("{krate} {function}"))
}

/// The function that a line of a source is in.
fn enclosing(path: &str, line: usize) -> Option<String> {
    let source = std::fs::read_to_string(path).ok()?;
    let before = source.lines().take(line).collect::<Vec<_>>();
    before.iter().rev().find_map(|line| {
        let (front, rest) = line.split_once("fn ")?;
        let is_item = front
            .split_whitespace()
            .all(|word| word.starts_with("pub") || ["async", "const", "unsafe"].contains(&word));
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        (is_item && !name.is_empty()).then_some(name)
    })
}
