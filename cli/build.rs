//! Which commit this is, for `countersign --version`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=COUNTERSIGN_COMMIT");
    let given = std::env::var("COUNTERSIGN_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let commit = given.or_else(of_git).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=COUNTERSIGN_COMMIT={}", commit.trim());
    let known = [
        ("CARGO_FEATURE_AWS_LC", "aws-lc"),
        ("CARGO_FEATURE_LDAP", "ldap"),
        ("CARGO_FEATURE_REDIS", "redis"),
        ("CARGO_FEATURE_RUSTCRYPTO", "rustcrypto"),
        ("CARGO_FEATURE_SQL", "sql"),
        ("CARGO_FEATURE_SSH_AGENT", "ssh-agent"),
        ("CARGO_FEATURE_X509", "x509"),
    ];
    let features: Vec<&str> =
        known.into_iter().filter(|(variable, _)| std::env::var_os(variable).is_some()).map(|(_, name)| name).collect();
    println!("cargo:rustc-env=COUNTERSIGN_FEATURES={}", features.join(", "));
}

/// The commit that is checked out, if this is a checkout of this project, and not a copy inside another.
fn of_git() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // What changes when another commit is checked out, or made. A path that is missing would build this anew each time.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let path = git(&["rev-parse", "--path-format=absolute", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
