//! Where and with what a run was made.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The crates whose code the rows run, as they stand among this package's dependencies.
const CRATES: [&str; 9] =
    ["countersign", "rsa", "aes-gcm", "aws-lc-rs", "rustls", "snow", "opaque-ke", "rsasl", "rcgen"];

/// Today, as ISO 8601 writes it.
pub fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    civil(seconds / 86_400)
}

/// The date that many days after 1970-01-01, in the Gregorian calendar. The year starts in March here, so that the leap
/// day is its last.
fn civil(days: u64) -> String {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// What the machine calls its processor.
pub fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or("a processor without a name".to_owned(), |(_, name)| name.trim().to_owned())
}

/// The compiler that is at hand, which is the one that built this where cargo runs it.
pub fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Names and versions of the crates that the rows run, from this package's lock file.
pub fn crates() -> std::io::Result<Vec<(String, String)>> {
    Ok(versions(&std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"))?))
}

fn versions(lock: &str) -> Vec<(String, String)> {
    let packages: Vec<_> = lock.split("[[package]]").collect();
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    let ours = packages.iter().find(|package| field(package, "name").as_deref() == Some(env!("CARGO_PKG_NAME")));
    let dependencies =
        ours.into_iter().flat_map(|package| package.lines()).map(|line| line.trim().trim_matches([',', '"']));
    let mut found = Vec::new();
    for dependency in dependencies {
        // The version stands there only where the lock file has several.
        let (name, version) = dependency.split_once(' ').unwrap_or((dependency, ""));
        if CRATES.contains(&name) {
            let package = packages.iter().find(|package| field(package, "name").as_deref() == Some(name));
            let locked = || package.and_then(|package| field(package, "version"));
            let version = if version.is_empty() { locked().unwrap_or_default() } else { version.to_owned() };
            found.push((name.to_owned(), version));
        }
    }
    found.sort_by_key(|(name, _)| CRATES.iter().position(|known| known == name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(civil(0), "1970-01-01");
        assert_eq!(civil(19_782), "2024-02-29");
        assert_eq!(civil(20_818), "2026-12-31");
    }

    #[test]
    fn every_crate_has_a_version() {
        let crates = crates().unwrap();
        assert_eq!(crates.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), CRATES);
        assert!(crates.iter().all(|(_, version)| version.starts_with(|first: char| first.is_ascii_digit())));
    }
}
